"""Two runs compared: rows side by side, and what differs in how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from reports import words
from reports.compare import (
    Comparison,
    Section,
    difference_table,
    field_differences,
    ratio,
    ratio_text,
)
from reports.run_data import RunData, read_run
from reports.summary import Card, TextTable

_AMOUNTS = {
    "cycles": ("cycles", words.count_of),
    "dram_transferred_bytes": ("DRAM bytes", words.size),
    "energy_pj": ("energy", words.energy),
}
_FACTS = ("workload", "model", "method", "machine", "seed", "sequences", "prunesim_version")
_INPUTS = ("workload", "model", "sequences")


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compare two run folders.

    Raises:
        InputError: one is not a run folder, or broken.
    """
    one, other = read_run(a), read_run(b)
    pairs = _pairs(one, other)
    rows = [row for names, first, second in pairs for row in _rows(names, first, second)]
    fields = field_differences(*(_made(run) for run in (one, other)))
    lonely = {
        side: [list(pair) for pair in _names(run) if pair not in _names(rest)]
        for side, run, rest in (("only_a", one, other), ("only_b", other, one))
    }
    studied = [row for row in rows if row["studied"]]
    return Comparison(
        folders=(a, b),
        kind="runs",
        headline=_headline(one, other, studied),
        cards=_cards(studied),
        sections=[
            Section(
                "rows",
                "Rows side by side",
                _table(rows),
                "The studied results are marked; results that only one run has are left out.",
            ),
            Section(
                "configuration",
                "What differs in how they were made",
                difference_table(fields),
                "Of the studied results: workload, method, machine and every field.",
                "Nothing: workload, method, machine and every field are the same.",
            ),
        ],
        differences={"rows": rows, "configuration": fields, **lonely},
        inputs_differ=[f["field"] for f in fields if f["field"] in _INPUTS],
    )


def _names(run: RunData) -> list[tuple[str, str]]:
    return list(zip(run.rows["machine"], run.rows["method"], strict=True))


def _pairs(one: RunData, other: RunData) -> list[tuple[str, pd.Series, pd.Series]]:
    """Return what is compared: the two studied results, then all others that both have."""
    found = []
    studied = [run.row(run.method, run.machine) for run in (one, other)]
    if studied[0] is not None and studied[1] is not None:
        found.append(("studied", studied[0], studied[1]))
    for machine, method in _names(one):
        first, second = one.row(method, machine), other.row(method, machine)
        both = first is not None and second is not None
        if both and (machine, method) != (one.machine, one.method):
            found.append(("other", first, second))
    return found  # type: ignore[return-value]


def _rows(kind: str, first: pd.Series, second: pd.Series) -> list[dict[str, Any]]:
    measures = [name for name in first.index if str(name).startswith("accuracy_")]
    names = [*_AMOUNTS, *(n for n in measures if pd.notna(first[n]) and pd.notna(second.get(n)))]
    return [
        {
            "machine": _both(first["machine"], second["machine"]),
            "method": _both(first["method"], second["method"]),
            "quantity": str(name),
            "a": float(first[name]),
            "b": float(second[name]),
            "ratio": ratio(float(first[name]), float(second[name])),
            "studied": kind == "studied",
        }
        for name in names
    ]


def _both(a: str, b: str) -> str:
    return str(a) if a == b else f"{a} → {b}"


def _made(run: RunData) -> dict[str, Any]:
    row = run.row(run.method, run.machine)
    if row is None:
        return {}
    facts: dict[str, Any] = {name: str(row[name]) for name in _FACTS if name in row}
    for kind, column in (("method", "parameters"), ("machine", "config")):
        facts |= {f"{kind}.{n}": v for n, v in json.loads(row[column]).items()}
    return facts


def _text(row: Mapping[str, Any], side: str) -> str:
    if row["quantity"] in _AMOUNTS:
        return _AMOUNTS[row["quantity"]][1](row[side])
    return f"{row[side]:.4f}"


def _label(name: str) -> str:
    return _AMOUNTS[name][0] if name in _AMOUNTS else words.metric(name)


def _table(rows: list[dict[str, Any]]) -> TextTable:
    lines = [
        [
            row["machine"],
            words.trace_name(row["method"]),
            _label(row["quantity"]),
            _text(row, "a"),
            _text(row, "b"),
            ratio_text(row["ratio"]),
        ]
        for row in rows
    ]
    columns = ["machine", "trace", "quantity", "A", "B", "B / A"]
    numeric = [False, False, False, True, True, True]
    return TextTable(columns, lines, numeric, [row["studied"] for row in rows])


def _headline(one: RunData, other: RunData, studied: list[dict[str, Any]]) -> str:
    if not studied:
        return "The two runs have no studied result in common."
    parts = []
    for row in studied:
        if row["quantity"] in _AMOUNTS:
            more = "less" if row["quantity"] == "energy_pj" else "fewer"
            parts.append(words.gain(row["a"], row["b"], _label(row["quantity"]), fewer=more))
    names = [f"{run.method} on {run.machine}" for run in (one, other)]
    same = names[0] == names[1]
    text = f"{names[0]} in both" if same else f"B, {names[1]}, against A, {names[0]}"
    text += f": B has {words.join(parts)}"
    measured = next((row for row in studied if row["quantity"] not in _AMOUNTS), None)
    if measured:
        name = _label(measured["quantity"])
        text += f", at a {name} of {measured['b']:.3f} after {measured['a']:.3f}"
    return text + "."


def _cards(studied: list[dict[str, Any]]) -> list[Card]:
    measures = [row for row in studied if row["quantity"] not in _AMOUNTS][:1]
    amounts = [row for row in studied if row["quantity"] in _AMOUNTS]
    return [
        Card(
            _label(row["quantity"]).capitalize() if row in measures else _label(row["quantity"]),
            f"{ratio_text(row['ratio'])}×" if row["ratio"] is not None else "-",
            f"{_text(row, 'a')} → {_text(row, 'b')}",
        )
        for row in [*amounts, *measures]
    ]
