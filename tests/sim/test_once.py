"""What is found once for a trace: equal to what is found anew, and forgotten with the trace."""

import dataclasses
import gc
import weakref
from itertools import product

import numpy as np
import pandas as pd
import pytest

from sim import once as module
from sim.machines import make_machine
from sim.once import once
from sim.run import simulate
from workloads.trace import Trace


class Owner:
    """Something that answers belong to; all are equal."""

    def __eq__(self, other):
        return isinstance(other, Owner)

    __hash__ = None


def counted(kept):
    """Return a function of an owner and a number, and the list of its calls."""
    calls = []

    @once(kept=kept)
    def answer(owner, number, *, factor=1):
        calls.append(number)
        return np.arange(number) * factor

    return answer, calls


def test_an_answer_is_found_once_for_an_owner_and_its_arguments():
    answer, calls = counted(kept=4)
    first, second = Owner(), Owner()
    assert answer(first, 3) is answer(first, 3)
    assert answer(second, 3).tolist() == answer(first, 3, factor=1).tolist() == [0, 1, 2]
    assert answer(first, 3, factor=2).tolist() == [0, 2, 4]
    assert calls == [3, 3, 3, 3]  # two owners, and two ways to ask for the factor


def test_the_latest_answers_and_owners_are_kept(monkeypatch):
    monkeypatch.setattr(module, "OWNERS", 2)
    answer, calls = counted(kept=2)
    owners = [Owner() for _ in range(3)]
    for number in (1, 2, 1, 3, 1):  # 3 takes the place of 2
        answer(owners[0], number)
    assert calls == [1, 2, 3]
    answer(owners[0], 2)
    answer(owners[1], 1)
    answer(owners[2], 1)  # takes the place of the first owner
    assert calls == [1, 2, 3, 2, 1, 1]
    calls.clear()
    answer(owners[1], 1)
    answer(owners[0], 2)
    assert calls == [2]


def test_a_number_of_a_dead_owner_says_nothing_about_a_new_one():
    memory = module._Memory(1)
    dead, living = Owner(), Owner()
    memory.keep(dead, "key", "answer")
    memory._of[id(living)] = memory._of[id(dead)]  # as if it lay where the other one did
    assert memory.find(living, "key") is None
    assert memory.find(dead, "key") == "answer"


def test_arrays_of_an_answer_cannot_be_changed():
    answer, _ = counted(kept=1)
    with pytest.raises(ValueError, match="read-only"):
        answer(Owner(), 3)[0] = 1


def test_an_error_is_raised_each_time():
    @once(kept=1)
    def fails(owner):
        raise ValueError("no answer")

    owner = Owner()
    for _ in range(2):
        with pytest.raises(ValueError, match="no answer"):
            fails(owner)


def test_an_answer_is_forgotten_with_its_owner():
    class Holder:
        pass

    @once(kept=1)
    def answer(owner):
        return Holder()

    owner = Owner()
    kept, of = weakref.ref(answer(owner)), weakref.ref(owner)
    assert kept() is not None
    del owner
    assert of() is None
    assert kept() is None


MACHINES = (
    ("spatten", {}),
    ("spatten", {"width_bits": 8, "prefill_value_pruning": True, "fetch.stored_bits": "8,12"}),
    ("spatten-e2e", {"precision.lsb_tensors": "QKV", "prune_queries": False}),
    ("spatten-rtl", {}),
    ("dense", {}),
    ("a3", {"width_bits": 10}),
    ("accllm-u280", {}),
    ("accllm-u280", {"window": False, "token_tile": 128}),
    ("flightllm-u280", {}),
)


def copy_of(trace):
    """Return an equal trace about which nothing is known."""
    return Trace(trace.header, dict(trace.tables))


def assert_same(one, other):
    assert one.row == other.row
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name], check_exact=True)


def test_alternating_traces_and_machines_are_as_new_ones(wide_trace, make_trace):
    shape = dataclasses.replace(wide_trace.header.model, layers=2)
    traces = (wide_trace, make_trace(30, shape=shape, generate=1, head_keep=[1, 0.5]))
    for _ in range(2):
        for trace, (name, settings) in product(traces, MACHINES):
            machine = make_machine(name, settings)
            assert_same(simulate(trace, machine), simulate(copy_of(trace), machine))


@pytest.mark.parametrize("name", ["spatten-e2e", "accllm-u280"])
def test_changing_a_table_does_not_change_the_next_result(wide_trace, name):
    machine = make_machine(name)
    untouched, touched = (simulate(wide_trace, machine) for _ in range(2))
    for table in touched.tables.values():
        for column in table.select_dtypes("number"):
            table.loc[:, column] = 0
        table["more"] = 1
    touched.row.clear()
    assert_same(untouched, simulate(wide_trace, machine))


@pytest.mark.parametrize("name", ["spatten-e2e", "dense", "a3", "accllm-u280", "flightllm-u280"])
def test_a_trace_is_not_kept_alive(wide_trace, name):
    trace = copy_of(wide_trace)
    result = simulate(trace, make_machine(name))
    reference = weakref.ref(trace)
    del trace
    gc.collect()
    assert reference() is None
    assert len(result.tables["layers"])
