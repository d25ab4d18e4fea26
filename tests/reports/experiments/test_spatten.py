"""SpAtten's workloads are those of the authors, and what is compared is counted right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.experiments import spatten
from reports.experiments.claim import COLUMNS, Claim, claim_table
from reports.experiments.lab import Lab
from reports.experiments.spatten.amounts import dense_operations, reduction, useful_operations
from reports.experiments.spatten.release import release
from reports.experiments.spatten.workloads import (
    MEDIUM,
    SMALL,
    generation_rows,
    generation_trace,
    unpruned,
)
from reports.reproduction import headline, reproduce
from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.spatten_csv import read_csv
from workloads.synthetic import shape_trace

COUNTS = ["iteration_id", "layer_id", "head_id", "sentence_length_L", "key_fetch_num",
          "value_fetch_num", "quant_key_bit", "quant_value_bit", "if_topk", "topk"]  # fmt: skip


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("summary-gpt2-small-wikitext2-per8.csv", SMALL),
        ("summary-gpt2-small-wikitext2-per8-step1+dedic.csv", unpruned(SMALL)),
    ],
)
def test_rows_are_those_of_the_released_file(
    name: str, generation: object, shared_files: Callable[[str], list[Path]]
) -> None:
    (path,) = shared_files(f"traces/spatten/{name}")
    expected, made = read_csv(path).rows, generation_rows(generation).rows  # type: ignore[arg-type]
    for column in COUNTS:
        assert made[column].tolist() == expected[column].tolist(), column


def test_medium_has_the_counts_of_its_released_file() -> None:
    """Rows, mean K and distinct V counts of the file, which is public but not at hand."""
    rows = generation_rows(MEDIUM).rows
    assert len(rows) == 11328
    assert rows["key_fetch_num"].mean() == pytest.approx(542.3, abs=0.05)
    counts = Counter(rows["value_fetch_num"].tolist())
    assert counts == {92: 5518, 184: 2976, 307: 1346, 245: 992, 276: 496}


def test_unquantised_steps_are_stored_in_32_bit() -> None:
    trace = generation_trace(unpruned(SMALL))
    assert trace.header.synthetic
    assert set(trace.array("attention", "k_bits").tolist()) == {32}


def test_reductions_by_hand() -> None:
    """Half of the tokens in every layer, 8 bits: 2 x fewer rows, 4 x fewer bits, 4 x less work."""
    shape = SHAPES["deit-small"]
    dense = shape_trace(shape, 64, k_bits=8, v_bits=8)
    pruned = shape_trace(shape, 64, token_keep=[0.5] * 12, k_bits=8, v_bits=8)
    found = reduction(pruned)
    assert found.tokens_and_values == 2
    assert found.heads == 1
    assert found.quantisation == 4
    assert found.bytes == 8
    assert found.operations == 4
    assert useful_operations(dense) == dense_operations(dense) == 4 * 64 * 64 * 64 * 6 * 12


def claim(**changes: object) -> Claim:
    values = {"section": "s", "quantity": "q", "unit": "u", "ours": 1.0, "inputs": "synthetic",
              "source": "x"}  # fmt: skip
    return Claim(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(1.0, "met"), (1.15, "met"), (1.151, "near"), (0.85, "met"), (0.849, "near"), (2.0, "near"),
     (2.01, "off"), (0.5, "near"), (0.49, "off")],
)  # fmt: skip
def test_verdicts(ours: float, verdict: str) -> None:
    assert claim(ours=ours, published=1.0).verdict == verdict


def test_statements_and_values_without_a_source() -> None:
    assert claim(holds=True).verdict == "holds"
    assert claim(holds=False).verdict == "fails"
    assert claim().verdict == "shown"
    table = claim_table([claim(published=1.0), claim(published=4.0), claim(holds=True)])
    assert list(table.columns) == list(COLUMNS)
    assert headline(table) == (
        "1 of 2 published values are met within 15 %, 0 more within a factor of two, 1 are not; "
        "1 of 1 statements in words hold."
    )


def test_a_run_is_done_once() -> None:
    made = []

    def make():
        made.append(1)
        return shape_trace(SHAPES["deit-small"], 8)

    lab = Lab({"small": make})
    first, again = (lab.run("small", "spatten") for _ in range(2))
    assert first is again
    lab.run("small", "spatten", {"value_topk.lanes": "8"})
    assert (len(made), lab.runs) == (1, 2)


def test_page_and_table_of_one_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spatten, "EXPERIMENTS", {"release": release})
    result = CliRunner().invoke(
        app, ["reproduce", "spatten", "--out", str(tmp_path / "r"), "--json"]
    )
    assert result.exit_code == 0, result.output
    claims = json.loads(result.stdout)["claims"]
    assert claims[0]["ours"] == claims[0]["published"] == 374
    table = pd.read_csv(tmp_path / "r" / "claims.csv")
    assert table["verdict"].tolist() == ["met"] * 3
    page = (tmp_path / "r" / "index.html").read_text()
    for text in ("374", "without the authors", "precision.lsb_tensors", "Not reproduced"):
        assert text in page
    for element in ("<script", "<link", "<img", "src="):  # one file, no network
        assert element not in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bert",), "paper must be one of spatten, accllm, not 'bert'"),
        (("spatten", "--traces", "."), "must be a folder with SpAtten workload files (*.csv)"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_reproduce_refuses_before_it_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="paper must be one of"):
        reproduce("other", tmp_path / "out", None, visible=False)


@pytest.mark.slow
@pytest.mark.fidelity
def test_published_values(tmp_path: Path) -> None:
    """The whole reproduction: what is met stays met, and nothing leaves its bound."""
    table = reproduce("spatten", tmp_path, None, visible=False).table.set_index("quantity")
    met = [
        "22 BERT benchmarks",
        "8 GPT-2 benchmarks, rows fed as by the authors' test bench",
        "attention",
        "token and local value pruning, GPT-2",
        "token and local value pruning, all 30",
        "head pruning, all 30",
        "all techniques, all 30",
        "computation, all 30",
        "mnnfast: throughput",
        "a3: throughput",
        "spatten-eighth: throughput",
        "spatten-eighth against a3",
        "spatten-eighth against mnnfast",
        "= cascade pruning with its engine",
        "spatten-rtl: one head of 128 keys and values, 8 bit",
    ]
    assert table.loc[met, "verdict"].tolist() == ["met"] * len(met)
    assert table.loc[
        "8 GPT-2 benchmarks, each layer waits for the one before", "ratio"
    ] == pytest.approx(0.80, abs=0.03)
    assert table.loc["FC layers, 8-bit weights", "ratio"] == pytest.approx(0.84, abs=0.03)
    assert not (table["verdict"] == "fails").any()
    for name in ("ratios", "breakdown", "curves"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
