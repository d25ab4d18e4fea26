"""Figures of the SpAtten reproduction, with the sentence that each of them says."""

from __future__ import annotations

from functools import partial

import pandas as pd

from reports import words
from reports.experiments import figures
from reports.experiments.lab import Lab
from reports.experiments.picture import Plan


def pictures(table: pd.DataFrame, lab: Lab) -> list[Plan]:
    """Return the figures that the claims have rows for."""
    del lab  # they are drawn from the table of claims alone
    ratios = figures.compared(table)["ratio"]
    plans = [
        (Plan("ratios", "Ours over published",
              f"The median ratio is {words.number(float(ratios.median()))}.",
              "One dot for each published value; the green band is 15 % on both sides.",
              partial(figures.draw_ratios, table)), len(ratios)),
        (Plan("breakdown", "What each step of the design buys on GPT-2",
              _breakdown_sentence(figures.steps(table)),
              "Each bar: how many times faster than the step before; pruning alone runs with a "
              "serial top-k engine.",
              partial(figures.draw_breakdown, table)), len(figures.steps(table))),
        (Plan("curves", "Two sizes of the design", _curve_sentence(table),
              "GPT-2 Small at the ratios of the authors' file; dashed: the paper's choice.",
              partial(figures.draw_curves, table)), len(figures.points(table, figures.LANES))),
    ]  # fmt: skip
    return [plan for plan, rows in plans if rows]


def _breakdown_sentence(steps: pd.DataFrame) -> str:
    parts = [
        f"{row['quantity'].lstrip('+= ')}: {words.number(row['ours'])} against "
        f"{words.number(row['published'])} times"
        for row in steps.to_dict("records")
        if row["quantity"].startswith(("=", "dedicated"))
    ]
    return words.sentence(parts)


def _curve_sentence(table: pd.DataFrame) -> str:
    said = table[table["verdict"].isin(["holds", "fails"])]
    return words.sentence(
        [
            f"{row['quantity'].partition(':')[0]}: {row['verdict']}"
            for row in said.to_dict("records")
        ]
    )
