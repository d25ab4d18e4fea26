"""A result holds what its schema documents."""

import pandas as pd
import pytest

from sim.machines import MACHINES, make_machine
from sim.result import ROW_COLUMNS, TABLE_COLUMNS, save_results
from sim.run import simulate


@pytest.mark.parametrize("name", MACHINES)
def test_row_and_tables_have_the_documented_columns(wide_trace, name):
    result = simulate(wide_trace, make_machine(name), timeline_heads=3)
    assert list(result.row) == list(ROW_COLUMNS)
    assert set(result.tables) == set(TABLE_COLUMNS)
    for table, columns in TABLE_COLUMNS.items():
        assert list(result.tables[table].columns) == list(columns), table


def test_the_timeline_is_limited_and_ordered(pruned_trace):
    timeline = simulate(pruned_trace, make_machine("spatten"), 3).tables["timeline"]
    assert (timeline["end_cycle"] >= timeline["start_cycle"]).all()
    heads = timeline[timeline["unit"] == "Q.K"]
    assert len(heads) == 3
    assert simulate(pruned_trace, make_machine("spatten")).tables["timeline"].empty


def test_results_are_saved_with_their_method_and_machine(wide_trace, tmp_path):
    results = [simulate(wide_trace, make_machine(name)) for name in MACHINES]
    save_results(results, tmp_path)
    rows = pd.read_parquet(tmp_path / "results.parquet")
    assert rows["machine"].tolist() == list(MACHINES)
    units = pd.read_parquet(tmp_path / "units.parquet")
    assert list(units.columns[:2]) == ["method", "machine"]
    assert set(units["machine"]) == set(MACHINES)


def test_the_hash_follows_the_configuration(pruned_trace):
    plain = simulate(pruned_trace, make_machine("spatten")).row["config_hash"]
    other = simulate(pruned_trace, make_machine("spatten", {"value_topk.lanes": 8})).row
    assert other["config_hash"] != plain
