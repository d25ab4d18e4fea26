"""Areas by synthesis beside the estimate: the rules, by hand, and what the report shows of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import blocks
from reports.html import write_report
from reports.rtl_area import (
    AREA_COLUMNS,
    BLOCK_COLUMNS,
    PARTS,
    RtlTables,
    Use,
    factor,
    machine_rows,
    nand2_um2,
    recorded_blocks,
    rtl_note,
    rtl_tables,
)
from reports.run_data import read_run
from reports.summary import rtl_area_table, rtl_block_table
from rtl.registry import BLOCKS
from sim.energy.area import area_table
from sim.machines import make_machine
from workloads.errors import InputError

NAND2_UM2 = 0.798 * (0.46 + 0.54 * 8 / 13)  # 40 nm lies between 32 nm (0.46) and 45 nm (1)
TOPK = Use("topk", "engine", {"lanes": "engine.lanes", "depth": "engine.depth"})
ARRAY = Use("query_key", "array", {"width_bits": "width"}, ("multipliers", "array.size"), "trees")


def recorded(**gates: float) -> dict[str, dict[str, Any]]:
    """Return blocks with so many gates and a tenth as many memory bits."""
    return {
        name: {"gate_equivalents": count, "memory_bits": count / 10, "note": ""}
        for name, count in gates.items()
    }


def by_name() -> dict[str, dict[str, Any]]:
    """Return the recorded blocks."""
    return {row["block"]: row for row in recorded_blocks().to_dict("records")}


def areas(mm2: dict[str, float]) -> pd.DataFrame:
    """Return an area table at 40 nm."""
    return pd.DataFrame(mm2.items(), columns=["component", "area_mm2"]).assign(node_nm=40.0)


def engine(lanes: int = 16) -> dict[str, int]:
    return {"lanes": lanes, "depth": 1024, "width_bits": 12}


def test_nand2_by_hand() -> None:
    assert nand2_um2(45) == pytest.approx(0.798)
    assert nand2_um2(40) == pytest.approx(NAND2_UM2)
    assert pytest.approx(0.6323, abs=1e-4) == NAND2_UM2
    with pytest.raises(InputError, match=r"^technology node must be in 7\.\.65 nm, not 90"):
        nand2_um2(90)


def test_factor_of_the_same_size() -> None:
    assert factor(TOPK, {"engine": engine()}) == (1.0, "the machine's size")


def test_factor_in_proportion() -> None:
    found = factor(ARRAY, {"width": 12, "array": {"size": 512}})
    assert found == (8.0, "query_key x 512/64 multipliers, without trees")
    assert factor(ARRAY, {"width": 12, "array": {"size": 64}}) == (1.0, "the machine's size")


@pytest.mark.parametrize(
    ("use", "config", "why"),
    [
        (TOPK, {"engine": engine(8)}, "topk has lanes 16, here 8"),
        (TOPK, {"engine": {"lanes": 16}}, "topk has depth 1024, here None"),
        (TOPK, {"engine": None}, "topk has lanes 16, here None; depth 1024, here None"),
        (ARRAY, {"width": 8, "array": {"size": 512}}, "query_key has width_bits 12, here 8"),
        (ARRAY, {"width": 12, "array": {}}, "array.size is not known"),
        (Use("fetcher", "fetch"), {"fetch": {}}, "one of the size below"),
    ],
)
def test_no_rule(use: Use, config: dict[str, Any], why: str) -> None:
    assert factor(use, config) == (None, f"not scaled: {why}")


def test_two_engines_by_hand() -> None:
    config = {"value_topk": engine(), "cascade_topk": engine()}
    table = areas({"top-k": 0.01, "crossbars": 0.5})
    found = recorded(topk=1000, importance=70, head_importance=7)
    rows = {row["component"]: row for row in machine_rows(table, config, found)}
    row = rows["top-k"]
    assert row["blocks"] == "2 x topk"
    assert row["gate_equivalents"] == 2000
    assert row["memory_bits"] == 200
    assert row["area_mm2"] == pytest.approx(2000 * NAND2_UM2 * 1e-6)
    assert row["ratio"] == pytest.approx(2000 * NAND2_UM2 * 1e-6 / 0.01)
    assert row["note"].startswith("the machine's size; RTL: ")
    assert rows["crossbars"]["note"] == "no RTL"
    assert rows["crossbars"]["estimate_mm2"] == 0.5
    assert pd.isna(rows["crossbars"]["area_mm2"])


def test_engines_that_differ_stand_once_and_have_no_ratio() -> None:
    config = {"value_topk": engine(), "cascade_topk": engine(8)}
    table = areas({"top-k": 0.01})
    found = recorded(topk=1000, importance=70, head_importance=7)
    row = machine_rows(table, config, found)[0]
    assert (row["blocks"], row["gate_equivalents"]) == ("topk", 1000)
    assert row["area_mm2"] == pytest.approx(1000 * NAND2_UM2 * 1e-6)
    assert pd.isna(row["ratio"])
    assert row["note"].startswith("not scaled: topk has lanes 16, here 8; RTL: ")


def test_arrays_by_hand() -> None:
    array = {"multipliers": 256, "width_bits": 12}
    config = {"query_key": array, "prob_value": array | {"multipliers": 64}}
    table = areas({"multipliers": 0.3, "adders": 0.2, "pipeline registers": 0.1})
    row = machine_rows(table, config, recorded(query_key=1000, prob_value=500))[0]
    assert row["component"] == "multipliers, adders, pipeline registers"
    assert row["gate_equivalents"] == 4 * 1000 + 500
    assert row["estimate_mm2"] == pytest.approx(0.6)
    assert row["ratio"] == pytest.approx(4500 * NAND2_UM2 * 1e-6 / 0.6)
    assert row["note"].endswith("; the machine's size")


def test_memories_have_no_estimate_to_compare_with() -> None:
    config = {"requant": {"fifo_rows": 256}, "softmax": {"lanes": 8}, "width_bits": 12}
    table = areas({"decision FIFO": 0.02})
    rows = machine_rows(table, config, recorded(requant=50, converter=60, softmax=70))
    row = next(row for row in rows if row["blocks"] == "requant")
    assert (row["component"], row["memories"]) == ("", "decision FIFO")
    assert (row["gate_equivalents"], row["memory_bits"]) == (50, 5)
    assert pd.isna(row["estimate_mm2"])
    assert pd.isna(row["ratio"])


def test_component_that_no_part_names() -> None:
    (row,) = machine_rows(areas({"sorter": 0.2}), {}, recorded(topk=1))
    assert (row["component"], row["note"], row["estimate_mm2"]) == ("sorter", "no RTL", 0.2)
    assert machine_rows(areas({}), {}, recorded(topk=1)) == []


@pytest.mark.parametrize("name", ["spatten", "spatten-e2e", "spatten-eighth"])
def test_parts_fit_the_machine(name: str) -> None:
    machine = make_machine(name)
    config = machine.model_dump(mode="json")
    for part in PARTS:
        for use in part.uses:
            assert use.of in config
            size = BLOCKS[use.block].make_config({}).model_dump()
            for field in [*use.same, *(use.per or ())[:1]]:
                assert field in size
            _, why = factor(replace(use, same={}), config)
            assert "not known" not in why
            assert "None" not in factor(use, config)[1]
    rows = machine_rows(area_table(machine.hardware), config, by_name())
    assert all(row["blocks"] and row["gate_equivalents"] > 0 for row in rows)


def test_spatten_from_the_record() -> None:
    machine = make_machine("spatten")
    record = {name: facts["asic"] for name, facts in blocks.read_record().items()}
    rows = machine_rows(
        area_table(machine.hardware),
        machine.model_dump(mode="json"),
        by_name(),
    )
    by_blocks = {row["blocks"]: row for row in rows}
    gates = {
        "query_key + prob_value": 8
        * (record["query_key"]["gate_equivalents"] + record["prob_value"]["gate_equivalents"]),
        "softmax": record["softmax"]["gate_equivalents"],
        "2 x topk": 2 * record["topk"]["gate_equivalents"],
    }
    compared = {name for name, row in by_blocks.items() if not pd.isna(row["ratio"])}
    assert compared == set(gates)
    for name, count in gates.items():
        assert by_blocks[name]["gate_equivalents"] == pytest.approx(count)
    by_hand = 1024 * (6351 * (12 / 32) ** 2 + 278 * 24 / 32 + 72 * 5.98) * 1e-6
    ratio = gates["query_key + prob_value"] * NAND2_UM2 * 1e-6 / by_hand
    assert by_blocks["query_key + prob_value"]["ratio"] == pytest.approx(ratio)


def test_machine_without_parts_of_ours() -> None:
    machine = make_machine("spatten-rtl")
    rows = machine_rows(
        area_table(machine.hardware),
        machine.model_dump(mode="json"),
        by_name(),
    )
    assert {row["note"] for row in rows} == {"no RTL"}
    assert rows


def test_blocks_are_the_record() -> None:
    found = by_name()
    assert list(found) == list(BLOCKS)
    assert {row["note"] for row in found.values()} == {""}
    for name, facts in blocks.read_record().items():
        for column, value in (facts["asic"] | facts["fpga"]).items():
            assert found[name][column] == value
    assert found["query_key"]["size"].startswith("multipliers=64 max_scores_per_cycle=1 width")


def test_block_missing_or_stale_says_so(own_record: Path) -> None:
    record = blocks.read_record()
    del record["softmax"]
    record["topk"]["sha256"] = "0"
    own_record.write_text(json.dumps(record))
    found = by_name()
    assert found["softmax"]["note"] == "softmax is not recorded: `make blocks`"
    assert found["topk"]["note"] == "topk has changed since it was recorded: `make blocks`"
    assert pd.isna(found["topk"]["lut"])
    machine = make_machine("spatten")
    rows = machine_rows(area_table(machine.hardware), machine.model_dump(mode="json"), found)
    by_component = {row["component"]: row for row in rows}
    for component, name in (("softmax", "softmax"), ("top-k", "topk")):
        row = by_component[component]
        assert row["note"] == found[name]["note"]
        assert pd.isna(row["area_mm2"])
        assert pd.isna(row["ratio"])
    shown = {row[1]: row for row in rtl_area_table(_of_machine(rows)).rows}
    assert shown["top-k; memory: top-k FIFOs"][4:7] == ["-", "-", "-"]
    listed = {row[0]: row[1:-1] for row in rtl_block_table(recorded_blocks()).rows}
    assert listed["topk"] == ["-"] * 8


def _of_machine(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(machine="spatten")


def test_report_without_a_record(
    run_folder: Path, own_record: Path, with_parts: Callable[[Path], Path]
) -> None:
    own_record.unlink()
    page = write_report(with_parts(run_folder)).read_text("utf-8")
    assert "topk is not recorded: `make blocks`" in page
    assert "paths of up to" not in page


@pytest.fixture
def with_parts() -> Callable[[Path], Path]:
    """Give the machine of a run folder two top-k engines."""

    def change(folder: Path) -> Path:
        rows = pd.read_parquet(folder / "results.parquet")
        spatten = rows["machine"] == "spatten"
        rows.loc[spatten, "config"] = json.dumps({"value_topk": engine(), "cascade_topk": engine()})
        rows.to_parquet(folder / "results.parquet")
        table = pd.read_parquet(folder / "area.parquet")
        table.loc[table["component"] == "multipliers", "component"] = "top-k"
        table.to_parquet(folder / "area.parquet")
        return folder

    return change


def test_tables_lie_in_the_run_folder(run_folder: Path, with_parts: Callable[[Path], Path]) -> None:
    page = write_report(with_parts(run_folder)).read_text("utf-8")
    written = pd.read_parquet(run_folder / "rtl_area.parquet")
    assert list(written) == list(AREA_COLUMNS)
    own = written[(written["machine"] == "spatten") & (written["component"] == "top-k")]
    assert own["blocks"].tolist() == ["2 x topk"]
    assert set(written.loc[written["machine"] == "dense", "note"]) == {"no RTL"}
    assert list(pd.read_parquet(run_folder / "rtl_blocks.parquet")) == list(BLOCK_COLUMNS)
    assert 'id="rtl-area"' in page
    assert 'id="rtl-blocks"' in page
    assert "<summary>rtl_area.parquet</summary>" in page


def test_note_gives_source_and_depth(run_folder: Path, with_parts: Callable[[Path], Path]) -> None:
    tables = rtl_tables(read_run(with_parts(run_folder)))
    used = ("topk", "importance", "head_importance")
    depth = max(blocks.read_record()[name]["asic"]["logic_depth_gates"] for name in used)
    text = rtl_note(tables)
    assert "0.632 um2: FreePDK45 NAND2 x1 0.798 um2 at 45 nm, to 40 nm" in text
    assert f"paths of up to {depth} gates" in text
    assert "1.5 times as large" in text
    assert "paths" not in rtl_note(RtlTables(tables.areas.iloc[:0], tables.blocks))


def test_sums_are_of_what_compares() -> None:
    rows = [
        ("softmax", 1.0, "softmax", 200.0, 0.25, 0.25),
        ("top-k", 0.5, "topk", 100.0, 0.5, 1.0),
        ("crossbars", 7.0, "fetcher", 900.0, 9.0, float("nan")),
    ]
    columns = ["component", "estimate_mm2", "blocks", "gate_equivalents", "area_mm2", "ratio"]
    table = rtl_area_table(
        pd.DataFrame(rows, columns=columns).assign(machine="m", memories="", note="")
    )
    assert table.rows[-1][1:7] == ["all with a ratio", "1.5", "", "300", "0.75", "0.5"]
    assert table.emphasis == [False, False, False, True]
    assert table.rows[2][6] == "-"


def test_block_table_of_the_record() -> None:
    rows = {row[0]: row for row in rtl_block_table(recorded_blocks()).rows}
    facts = blocks.read_record()["line_buffer"]
    assert rows["line_buffer"][4] == f"{facts['fpga']['bram36']:g}"
    assert rows["line_buffer"][7] == f"{facts['asic']['memory_bits']:,}"
    assert list(rows) == list(BLOCKS)
