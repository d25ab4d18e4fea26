"""`prunesim compare`: what runs, what it measures, what it says of what cannot run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.comparison import job as job_module
from reports.comparison.job import TABLE, Comparison, compare, points
from reports.comparison.points import Setting, offered_share
from reports.comparison.show import draw, text_table
from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace
from workloads.trace_part import select


def comparison(out: Path, **changed: Any) -> Comparison:
    setting = {"workload": "tiny-decoder", "machine": "spatten", "limit": 2, "seed": 0}
    setting |= {k: changed.pop(k) for k in list(changed) if k in setting}
    values: dict[str, Any] = {"family": "kv", "budgets": [0.1, 0.5], "methods": [], "jobs": 1}
    return Comparison(setting=Setting(**setting), out=out, **values | changed)


def test_every_method_of_the_family_runs_at_every_budget_beside_the_unpruned(
    tmp_path: Path,
) -> None:
    from algos import METHODS

    found = points(comparison(tmp_path))
    family = [name for name, kind in METHODS.items() if kind.family == "kv"]
    assert [(p.method, p.budget) for p in found] == [
        ("dense", None),
        *((name, budget) for name in family for budget in (0.1, 0.5)),
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"family": "kw"}, "family must be one of .* not 'kw'"),
        ({"workload": "tiny-decode"}, "workload must be one of .*'tiny-decoder'"),
        ({"machine": "spaten"}, "machine must be one of .*'spatten'"),
        ({"methods": ["h20"]}, "method must be one of .*'h2o'"),
        ({"budgets": []}, "budgets must be at least 1 number, there is none"),
        ({"budgets": [0.0]}, "a budget must be above 0 and at most 1, not 0"),
        ({"budgets": [float("nan")]}, "a budget must be above 0 and at most 1, not nan"),
        (
            {"workload": "tiny-vit"},
            "family kv must have a method for tiny-vit, none runs on images",
        ),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        points(comparison(tmp_path, **changed))


def test_a_word_among_budgets_is_one_sentence_and_exit_code_2() -> None:
    result = CliRunner().invoke(app, ["compare", "--budgets", "0.1,half"])
    assert result.exit_code == 2
    assert "budgets must be numbers with commas between them, not 'half'" in result.stderr


def test_points_are_kept_as_they_come_and_a_refusal_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fake(_source: Any, method: Any, _machine: Any) -> dict[str, Any]:
        table = tmp_path / TABLE
        seen.append(len(pd.read_csv(table)) if table.exists() else 0)
        if method.name == "h2o" and method.keep_ratio < 0.3:
            raise InputError("h2o cannot, it says")
        return {"nats_per_token": 1.0, "offered": 0.5, "dram_bytes": 8, "cycles": 4, "part": "x"}

    monkeypatch.setattr(job_module, "run_point", fake)
    monkeypatch.setattr(
        job_module, "_load", lambda _: job_module._shared.update(source=0, machine=0)
    )
    table = compare(comparison(tmp_path, methods=["h2o", "snapkv"]), visible=False)
    assert seen == [0, 1, 2, 3, 4]
    assert table["method"].tolist() == ["dense", "h2o", "h2o", "snapkv", "snapkv"]
    assert table["refused"].tolist()[1] == "h2o cannot, it says"
    assert pd.read_csv(tmp_path / TABLE)["method"].tolist() == table["method"].tolist()


def rows() -> pd.DataFrame:
    values = [("dense", np.nan, 1.0), ("random-kv", 0.5, 2.0), ("h2o", 0.5, 1.1), ("h2o", 1.0, 1.0)]
    table = pd.DataFrame(values, columns=["method", "budget", "nats_per_token"])
    return table.assign(refused=None, offered=0.5, dram_bytes=8.0, cycles=4.0, part="decoding")


def test_the_best_method_stands_on_top() -> None:
    figure = draw(rows(), "text", "kv")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["h2o", "random-kv"]
    assert len(figure.axes) == 3


def test_costs_are_shares_of_the_unpruned_and_reasons_are_told() -> None:
    table = rows()
    table.loc[1, "refused"] = "it cannot"
    text = text_table(table, "text").rows
    assert text[2] == ["h2o", "0.5", "1.1000", "1.000", "1.000", "1.000", ""]
    assert text[1][-1] == "it cannot"


def test_a_part_of_a_trace_is_its_first_inputs() -> None:
    shape = replace(SHAPES["gpt2-small"], layers=2)
    trace = shape_trace(shape, 20, token_keep=[1.0, 0.5], generate=2, sequences=2)
    few = select(trace, 1, "decode")
    assert set(few.array("attention", "sequence")) == {0}
    assert few.array("attention", "step").min() > 0
    whole = select(trace, 1, "whole")
    assert whole.array("attention", "step").min() == 0
    assert offered_share(few) < 1.0


def test_an_unpruned_trace_offers_nothing() -> None:
    assert offered_share(shape_trace(SHAPES["gpt2-small"], 20, generate=1)) == 1.0


@pytest.mark.slow
def test_two_methods_in_full(tmp_path: Path) -> None:
    arguments = ["compare", "--methods", "random-kv,streaming-llm", "--budgets", "0.25"]
    arguments += ["--limit", "2", "--jobs", "2", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = {row["method"]: row for row in json.loads(result.stdout)["rows"]}
    assert found["random-kv"]["nats_per_token"] > found["dense"]["nats_per_token"] + 0.5
    assert found["streaming-llm"]["dram_bytes"] < 0.5 * found["dense"]["dram_bytes"]
    assert (tmp_path / "compare.svg").is_file()
