"""The recurrence of tiles: by hand, and compiled equal to plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.machines.decoder import kernel


def run(columns, slots=4, ticks=1, per_line=(1, 1), latency=(0, 0), whole=False, call=kernel.run):
    """Return start, end, results, engine and memory; a column is {field: value}."""
    operators = np.zeros((kernel.FIELDS, len(columns)), np.int64)
    operators[kernel.TILES] = 1
    operators[kernel.DEPENDS] = np.arange(len(columns)) - 1
    for at, column in enumerate(columns):
        for field, value in column.items():
            operators[field, at] = value
    times = [np.zeros(len(columns), np.int64) for _ in range(3)]
    engine, memory = np.zeros(5, np.int64), np.zeros((2, 2), np.int64)
    call(operators, slots, ticks, np.array(per_line), np.array(latency), whole, *times, engine,
         memory)  # fmt: skip
    return (*times, engine, memory)


def test_an_operator_streams_and_ends_after_its_last_beat():
    start, end, results, engine, memory = run(
        [{kernel.LINES: 10, kernel.WORK: 4, kernel.LATENCY: 3}], latency=(5, 5)
    )
    # first beat after 1 + 5, the last after 10 + 5, taken a cycle later
    assert (start[0], end[0], results[0]) == (6, 16, 19)
    assert engine.tolist() == [4, 3, 12, 0, 0]
    assert memory.tolist() == [[10, 0], [0, 0]]


def test_the_next_operator_is_fetched_while_the_first_one_works():
    slow = {kernel.LINES: 10, kernel.WORK: 100, kernel.LATENCY: 0}
    start, end, _, engine, _ = run([slow, {**slow, kernel.WAIT: 7}])
    assert (end[0], start[1], end[1]) == (101, 108, 208)
    assert engine.tolist() == [200, 7, 1, 0, 0]


def test_a_full_buffer_holds_the_memory_up():
    slow = {kernel.LINES: 10, kernel.WORK: 100}
    _, end, _, _, memory = run([slow, slow, slow], slots=1)
    # with one slot the next tile is asked for when the one before has been used
    assert end.tolist() == [101, 202, 303]
    assert memory[0].tolist() == [30, 182]


def test_two_memories_work_side_by_side():
    weights = {kernel.LINES: 50, kernel.WORK: 10}
    cache = {kernel.LINES: 50, kernel.WORK: 10, kernel.MEMORY: 1, kernel.KIND: 1}
    assert run([weights, cache])[1].tolist() == [51, 61]
    together = {**cache, kernel.MEMORY: 0}
    assert run([weights, together])[1].tolist() == [51, 101]


def test_a_gate_and_whole_tiles_take_the_overlap_away():
    op = {kernel.LINES: 10, kernel.WORK: 10, kernel.LATENCY: 2}
    assert run([op, {**op, kernel.GATED: 1}], whole=True)[2].tolist() == [22, 44]
    assert run([op, op])[2].tolist() == [13, 25]


def test_rates_are_exact():
    """14 beats in 15 cycles: 1,400 beats take 1,500 cycles, not one more."""
    op = {kernel.LINES: 1400, kernel.TILES: 100, kernel.WORK: 1}
    _, end, _, _, memory = run([op], slots=100, ticks=14, per_line=(15, 1))
    assert memory[0, 0] == 14 * 1500
    assert end[0] == 1501


def test_writes_take_the_memory_first():
    cache = {kernel.LINES: 10, kernel.WORK: 1, kernel.MEMORY: 1, kernel.KIND: 1, kernel.WRITES: 6}
    assert run([cache])[1].tolist() == [17]


fields = st.fixed_dictionaries(
    {
        kernel.KIND: st.integers(0, 1),
        kernel.LINES: st.integers(0, 40),
        kernel.TILES: st.integers(1, 5),
        kernel.WORK: st.integers(0, 40),
        kernel.WAIT: st.integers(0, 9),
        kernel.LATENCY: st.integers(0, 9),
        kernel.GATED: st.integers(0, 1),
        kernel.WRITES: st.integers(0, 3),
        kernel.SPILL: st.integers(0, 9),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(fields, min_size=1, max_size=12), st.integers(1, 3), st.booleans(), st.booleans())
def test_compiled_equals_python_and_states_add_up(columns, slots, whole, shared):
    for column in columns:
        column[kernel.MEMORY] = 0 if shared else column[kernel.KIND]
    options = {"slots": slots, "ticks": 6, "per_line": (7, 9), "latency": (3, 4), "whole": whole}
    compiled = run(columns, **options)
    python = run(columns, **options, call=kernel.run.py_func)
    for left, right in zip(compiled, python, strict=True):
        assert left.tolist() == right.tolist()
    _, end, results, engine, memory = compiled
    assert engine.sum() == results[-1]
    assert (np.diff(end) >= 0).all()
    assert (memory.sum(axis=1) <= 6 * results[-1] + 9 * 3).all()
