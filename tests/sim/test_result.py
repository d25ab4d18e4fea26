"""Tables of a result: made when they are looked at, the same ever after."""

import pickle

import pandas as pd
import pytest

from sim.machines import MACHINES, make_machine
from sim.result import TABLE_COLUMNS, Tables
from sim.run import simulate


def test_a_frame_is_made_once_and_when_it_is_looked_at():
    made = []

    def make():
        made.append(1)
        return pd.DataFrame({"a": [1]})

    tables = Tables({"made": make, "plain": {"a": [1, 2], "b": ("x", "y")}})
    assert list(tables) == ["made", "plain"]
    assert len(tables) == 2
    assert not made
    assert tables["made"] is tables["made"]
    assert made == [1]
    assert tables["plain"].to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    with pytest.raises(KeyError, match="other"):
        tables["other"]


def test_an_empty_table_has_its_columns_and_no_type():
    table = Tables({"timeline": {"unit": [], "start_cycle": []}})["timeline"]
    assert table.dtypes.to_dict() == {"unit": object, "start_cycle": object}


@pytest.mark.parametrize("name", MACHINES)
def test_a_result_pickles_whether_its_tables_were_looked_at_or_not(wide_trace, name):
    result = simulate(wide_trace, make_machine(name), 2)
    before = pickle.loads(pickle.dumps(result))
    assert list(result.tables) == list(TABLE_COLUMNS)
    for table, columns in TABLE_COLUMNS.items():
        assert list(result.tables[table]) == list(columns)
    after = pickle.loads(pickle.dumps(result))
    assert before.row == after.row == result.row
    for table, frame in result.tables.items():
        pd.testing.assert_frame_equal(before.tables[table], frame, check_exact=True)
        pd.testing.assert_frame_equal(after.tables[table], frame, check_exact=True)
