"""The recurrence of one head, fed by hand."""

import numpy as np
import pytest

from sim.machines import make_machine
from sim.machines import spatten_kernel as kernel
from sim.run import simulate

LATENCY = (10, 5, 4, 3)  # to the exponentials, to the sum, to the decision, of a top-k pass


def run_head(query_ready, recompute, selection=(), **columns):
    """Run one head to its end; one cycle a query on every unit unless told otherwise."""
    state = kernel.State(1)
    head = state.heads[0]
    head[kernel.QUERIES] = len(query_ready)
    for name in ("KEY_CYCLES", "SOFTMAX_CYCLES", "VALUE_CYCLES", "FILTER_CYCLES"):
        head[getattr(kernel, name)] = 1
    head[kernel.WINDOW] = head[kernel.QUEUE_ROWS] = 100
    head[kernel.LSB_FIRST] = kernel.UNKNOWN
    for name, value in columns.items():
        head[getattr(kernel, name)] = value
    arguments = (
        state.counters, state.rows, state.pending, state.cycles, state.heads, state.spans, 0,
        np.array(query_ready), np.array(recompute), np.array(selection, np.int64), LATENCY, True,
    )  # fmt: skip
    code = kernel.advance(*arguments)
    if code == kernel.NEEDS_LSB:
        head[kernel.LSB_FIRST] = columns.get("LSB_FIRST", head[kernel.LSB_REQUEST])
        code = kernel.advance(*arguments)
    assert code == kernel.FINISHED
    return state


def decisions(state, queries):
    return state.rows[:queries, kernel.DECISION].tolist()


def test_stages_add_up():
    state = run_head([7], [False])
    # Q.K 7..8, softmax from 8 + 15, 1 cycle, decision 4 later, Prob.V 1 cycle
    assert state.spans[0].tolist()[:2] == [[7, 8], [23, 24]]
    assert decisions(state, 1) == [28]
    assert state.spans[0, kernel.PV].tolist() == [28, 29]
    assert state.heads[0, kernel.END] == 29


def test_a_row_waits_for_the_rows_that_fill_the_window():
    free = run_head([0] * 4, [False] * 4)
    tight = run_head([0] * 4, [False] * 4, WINDOW=2)
    assert decisions(free, 4) == [21, 22, 23, 24]
    # row 2 is issued when row 0 is accepted at 21, row 3 when row 1 is, at 22
    assert decisions(tight, 4) == [21, 22, 42, 43]


def test_a_full_window_waits_for_a_recomputation():
    state = run_head([0, 0], [True, False], WINDOW=1, LSB_FIRST=60, LSB_END=0)
    assert decisions(state, 2) == [81, 102]  # query 1 is issued when query 0 is accepted


def test_a_recomputation_goes_before_a_new_query_that_is_ready_too():
    state = run_head([0, 21, 21], [True, False, False], LSB_FIRST=21, LSB_END=0)
    # query 0 is decided at 21: its recomputation takes 21..22, query 1 22..23, query 2 23..24
    assert decisions(state, 3) == [42, 43, 44]


def test_a_recomputation_waits_for_its_last_lsbs():
    state = run_head([0], [True], LSB_FIRST=30, LSB_END=90)
    assert state.spans[0, kernel.QK].tolist() == [0, 90]
    assert state.cycles[kernel.QK, kernel.DRAM] == 59


def test_only_the_first_recomputation_of_a_head_waits_for_lsbs():
    state = run_head([0, 0], [True, True], LSB_FIRST=30, LSB_END=90)
    assert state.spans[0, kernel.QK].tolist() == [0, 91]


def test_results_leave_in_query_order():
    state = run_head([0, 0], [True, False], LSB_FIRST=60, LSB_END=0)
    assert decisions(state, 2) == [81, 22]
    assert state.rows[:2, kernel.ACCEPTED].tolist() == [81, 81]


def test_selection_filter_and_weighting_by_hand():
    state = run_head([0], [False], selection=[50], FILTER_CYCLES=8, VALUE_CYCLES=2)
    # decided 21, selected 71, first element out 3 later, last at 79: Prob.V cannot end before 80
    assert state.spans[0, kernel.TOPK].tolist() == [21, 79]
    assert state.spans[0, kernel.PV].tolist() == [74, 80]


def test_selection_waits_for_room_in_the_probability_queue():
    state = run_head(
        [0, 0, 0], [False] * 3, selection=[1, 1, 1], QUEUE_ROWS=1, VALUE_CYCLES=100, FILTER_CYCLES=4
    )
    assert state.cycles[kernel.TOPK, kernel.DOWNSTREAM] > 0
    starts = state.rows[:3, kernel.STARTED].tolist()
    assert starts[2] == starts[1] + 100


def test_one_row_of_storage_serialises_the_queries(make_trace):
    machine = make_machine(
        "spatten", {"dram.ideal": "true", "softmax.fifo_rows": "1", "requant.fifo_rows": "1"}
    )
    tokens = 40
    row = 5  # 40 keys at 8 a cycle
    period = row + 11 + 28 + 23 + row + 36 + 1
    layer = 19 + 4 * tokens * period + 3 + 3  # Prob.V: 40 values at 16 a cycle, and its latency
    assert simulate(make_trace(tokens), machine).row["cycles"] == 3 * layer


@pytest.mark.parametrize("recompute", [[False, True, False, True], [True] * 4])
def test_kernel_equals_its_python_twin(recompute, monkeypatch):
    compiled = run_head([0, 3, 9, 9], recompute, [5, 9, 2, 7], LSB_FIRST=40, LSB_END=55)
    for name in ("stream_end", "_idle", "_span", "_commit", "advance"):
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    plain = run_head([0, 3, 9, 9], recompute, [5, 9, 2, 7], LSB_FIRST=40, LSB_END=55)
    for name in ("counters", "cycles", "heads", "spans"):
        assert getattr(plain, name).tolist() == getattr(compiled, name).tolist(), name
