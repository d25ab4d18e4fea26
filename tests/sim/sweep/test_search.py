"""Searches: what they ask, what they learn, when they end, what they leave out."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.machines.base import BareMachine
from sim.sweep import Search, Space, Sweep
from sim.sweep import search as searching
from sim.sweep import work as working
from sim.sweep.evaluate import Evaluated
from sim.sweep.foresight import UNKNOWN, Range
from sim.sweep.pareto import dominates, front, front_within
from sim.sweep.samplers import Evolving, Verdict, costs_of, ordered, violations_of
from sim.sweep.search import STALE, at_best, broken, least_broken
from sim.sweep.store import Store
from tests.sim.sweep.spaces import Here, Synthetic, hide, stored
from workloads.errors import InputError

SAMPLERS = ("nsga2", "tpe", "bounds")
AXES: dict[str, Any] = {
    "machine.query_key.multipliers": [64, 128, 256, 512],
    "machine.softmax.lanes": [1, 2, 4, 8],
    "machine.cascade_topk.lanes": [1, 2, 4, 8, 16],
    "machine.flow.cascade_topk": ["parallel", "serial"],
}
OBJECTIVES = {"latency_ns": "min", "area_mm2": "min"}


def space(search: dict[str, Any] | None, **more: Any) -> Space:
    content = {"method": "m", "axes": AXES, "objectives": OBJECTIVES, "search": search}
    return Space.of(content | more)


def run(space_: Space, folder: Path, engine: Here | None = None, **options: Any) -> Any:
    return Sweep(space_, Synthetic(), folder).run(engine or Here(), **options)


def figures(machine: Any) -> dict[str, float]:
    """Latency falls and area rises with each part; a serial cascade is only slower."""
    multipliers, lanes = machine.query_key.multipliers, machine.softmax.lanes
    engines = machine.cascade_topk.lanes
    slow = 1.5 if machine.flow.cascade_topk == "serial" else 1.0
    return {
        "latency_ns": slow * (6400 / multipliers + 100 / lanes + 50 / engines),
        "area_mm2": 0.01 * multipliers + 0.5 * lanes + 0.1 * engines,
    }


@pytest.fixture
def instant(monkeypatch):
    """Evaluate machines by `figures`, and foresee half the latency and the area."""

    def evaluate(trace: Path, machine: BareMachine, wanted: Any) -> Evaluated:
        return Evaluated(figures(machine), {}, None)

    def foresee(trace: Path, machines: Any, columns: Any) -> list[dict[str, Range] | None]:
        found: list[dict[str, Range] | None] = []
        for machine in machines:
            row = figures(machine)
            area = row["area_mm2"]
            known = {"latency_ns": (row["latency_ns"] / 2, math.inf), "area_mm2": (area, area)}
            found.append({column: known.get(column, UNKNOWN) for column in columns})
        return found

    monkeypatch.setattr(working, "evaluate", evaluate)
    monkeypatch.setattr(working, "foresee", foresee)


def on_front(folder: Path) -> set[tuple[float, ...]]:
    done = [p for p in stored(folder) if p.row]
    values = [[p.row[name] for name in OBJECTIVES] for p in done if p.row]
    mask = front(values, list(OBJECTIVES.values()))
    return {tuple(v) for v, on in zip(values, mask, strict=True) if on}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("prune", [True, False])
def test_points_do_not_depend_on_when_they_end(instant, tmp_path, sampler, prune):
    wanted = space({"sampler": sampler, "trials": 40, "batch": 8, "prune": prune})
    run(wanted, tmp_path / "a")
    run(wanted, tmp_path / "b", Here(backwards=True))
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_resume_replays_a_search_that_was_stopped(instant, tmp_path, sampler):
    wanted = space({"sampler": sampler, "trials": 40, "batch": 8})
    whole = run(wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path / "cut", Here(most=30))
    before = sum(p.status == "done" for p in stored(tmp_path / "cut"))
    outcome = run(wanted, tmp_path / "cut", resume=True)
    assert stored(tmp_path / "cut") == stored(tmp_path / "whole")
    assert outcome.ran == whole.ran - before
    assert 0 < before < 40
    assert run(wanted, tmp_path / "cut", resume=True).ran == 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_it_ends_after_so_many_trials_each_another_point(instant, tmp_path, sampler):
    outcome = run(space({"sampler": sampler, "trials": 37, "batch": 8}), tmp_path)
    points = stored(tmp_path)
    assert outcome.counts["done"] == outcome.ran == 37
    assert len({tuple(p.assignment.items()) for p in points}) == len(points)
    assert [p.number for p in points] == list(range(len(points)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_it_ends_when_every_point_was_asked_for(instant, tmp_path, sampler, monkeypatch):
    monkeypatch.setattr(searching, "STALE", 10**9)
    monkeypatch.setattr(Evolving, "ask", _few(Evolving.ask))
    small = {"machine.softmax.lanes": [1, 2, 4], "machine.query_key.multipliers": [64, 128]}
    run(space({"sampler": sampler, "trials": 1000, "prune": False}, axes=small), tmp_path)
    assert [p.status for p in stored(tmp_path)] == ["done"] * 6


def _few(ask: Any) -> Any:
    """Let a search ask 50 times: chance alone finds six points in fewer."""
    left = iter(range(50))

    def counted(self: Evolving, count: int) -> Any:
        next(left)
        return ask(self, count)

    return counted


def test_it_ends_when_nothing_new_is_asked_for(instant, tmp_path, monkeypatch):
    class Stubborn:
        batches = 0

        def __init__(self, *anything: Any) -> None:
            pass

        def ask(self, count: int) -> list[Any]:
            Stubborn.batches += 1
            return [{"machine.softmax.lanes": 1}] * count

        def tell(self, verdicts: Any) -> None:
            assert len({v.costs for v in verdicts}) == 1  # duplicates are told what is known

    monkeypatch.setattr(searching, "Evolving", Stubborn)
    axes = {"machine.softmax.lanes": [1, 2, 4]}
    assert run(space({"prune": False}, axes=axes), tmp_path).counts == {"done": 1}
    assert Stubborn.batches == STALE + 1


def test_two_assignments_of_one_machine_are_one_point(instant, tmp_path):
    axes = {"machine.softmax.lanes": [2, "2"], "machine.query_key.multipliers": [64, 128]}
    run(space({"sampler": "bounds", "prune": False}, axes=axes), tmp_path)
    assert [p.number for p in stored(tmp_path)] == [0, 1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_front_is_the_same_with_and_without_pruning(instant, tmp_path, sampler):
    found = {}
    for prune in (True, False):
        folder = tmp_path / str(prune)
        trials = 160 if sampler == "bounds" else 60
        run(space({"sampler": sampler, "trials": trials, "batch": 8, "prune": prune}), folder)
        found[prune] = stored(folder)
    kept, everything = ({tuple(p.assignment.items()): p for p in f} for f in found.values())
    if sampler == "bounds":
        assert len(kept) == len(everything) == 160
        assert on_front(tmp_path / "True") == on_front(tmp_path / "False")
    pruned = [p for p in found[True] if p.status == "pruned"]
    assert len(pruned) > (30 if sampler == "bounds" else 0)
    whole = on_front(tmp_path / "False")
    for point in pruned:
        assert point.reason is not None
        assert point.reason.startswith("its bounds are dominated by point ")
        row = found[True][int(point.reason.rpartition(" ")[2])].row
        mine = everything.get(tuple(point.assignment.items()))
        assert row is not None
        if mine is not None and mine.row is not None:
            costs = [[r[name] for name in OBJECTIVES] for r in (row, mine.row)]
            assert dominates(*np.array(costs))
            assert tuple(costs[1]) not in whole


@pytest.mark.parametrize("sampler", ["bounds", "nsga2"])
def test_the_front_of_real_runs_is_the_same_with_and_without_pruning(tmp_path, sampler):
    """Nothing is faked; everything is asked for, so both fronts are that of the whole space."""
    axes = {
        "method.keep": [0.5, 1.0],
        "machine.query_key.multipliers": [64, 512],
        "machine.softmax.lanes": [1, 8],
        "machine.clock_hz": [0.2e9, 1e9],
    }
    objectives = OBJECTIVES | {"energy_pj": "min", "accuracy_share": "max"}
    fronts = []
    for prune in (True, False):
        folder = tmp_path / str(prune)
        wanted = {"sampler": sampler, "trials": 1000, "batch": 4, "prune": prune}
        run(space(wanted, axes=axes, objectives=objectives), folder)
        points = stored(folder)
        assert len(points) == 16
        done = [p for p in points if p.row is not None]
        values = [[p.row[name] for name in objectives] for p in done if p.row]
        mask = front(values, list(objectives.values()))
        fronts.append({tuple(v) for v, on in zip(values, mask, strict=True) if on})
        assert (len(done) < 16) == prune
    assert fronts[0] == fronts[1]


GROUPED = {"within": ["machine.flow.cascade_topk"]}


def test_bounds_prune_only_within_a_group(instant, tmp_path):
    """A serial cascade is always worse, so without `within` none of it is on the front."""
    fronts, kinds = {}, {}
    for name, more in (("together", {}), ("apart", GROUPED)):
        for prune in (True, False):
            folder = tmp_path / f"{name} {prune}"
            run(space({"sampler": "bounds", "trials": 160, "prune": prune}, **more), folder)
            fronts[name, prune] = _fronts(folder, more)
        kinds[name] = {kind for kind, _ in fronts[name, True]}
        assert fronts[name, True] == fronts[name, False]
    assert kinds == {"together": {"parallel"}, "apart": {"parallel", "serial"}}
    points = stored(tmp_path / "apart True")
    pruned = [p for p in points if p.status == "pruned"]
    assert len(pruned) > 10
    for point in pruned:
        better = points[int(str(point.reason).rpartition(" ")[2])]
        assert _kind(better) == _kind(point)


def _kind(point: Any) -> str:
    return str(point.assignment["machine.flow.cascade_topk"])


def _fronts(folder: Path, more: dict[str, Any]) -> set[tuple[str, tuple[float, ...]]]:
    done = [p for p in stored(folder) if p.row]
    values = [[p.row[name] for name in OBJECTIVES] for p in done if p.row]
    groups = [_kind(p) if more else "" for p in done]
    mask = front_within(values, list(OBJECTIVES.values()), groups)
    return {(_kind(p), tuple(v)) for p, v, on in zip(done, values, mask, strict=True) if on}


def test_bounds_look_at_all_groups_in_turn(instant, tmp_path):
    run(space({"sampler": "bounds", "trials": 20, "prune": False}, **GROUPED), tmp_path)
    kinds = [_kind(p) for p in stored(tmp_path)]
    assert kinds == ["parallel", "serial"] * 10


def test_nothing_is_left_out_by_an_objective_without_bounds(instant, tmp_path, monkeypatch):
    def evaluate(trace: Path, machine: BareMachine, wanted: Any) -> Evaluated:
        return Evaluated(figures(machine) | {"dram_activates": 7}, {}, None)

    monkeypatch.setattr(working, "evaluate", evaluate)
    objectives = OBJECTIVES | {"dram_activates": "min"}
    for sampler in SAMPLERS:
        folder = tmp_path / sampler
        wanted = space({"sampler": sampler, "trials": 60}, objectives=objectives)
        assert run(wanted, folder).counts == {"done": 60}


def test_a_point_that_must_break_a_constraint_is_left_out(instant, tmp_path):
    wanted = space(
        {"sampler": "bounds", "trials": 160}, constraints={"area_mm2": {"min": 1.5, "max": 6.0}}
    )
    run(wanted, tmp_path)
    points = stored(tmp_path)
    assert len(points) == 160
    reasons = {p.reason for p in points if p.reason and p.reason.startswith("area_mm2")}
    assert "area_mm2 must be at most 6, it is at least 6.22" in reasons
    assert "area_mm2 must be at least 1.5, it is at most 1.24" in reasons
    assert all(p.row is None or 1.5 <= p.row["area_mm2"] <= 6 for p in points)


def test_an_infeasible_point_prunes_nothing(instant, tmp_path):
    """All points break the constraint, of which nothing is known before: none stands for a front.

    With a constraint that they hold many are left out.
    """
    pruned = {}
    for least in (0, 1e9):
        folder = tmp_path / f"{least:g}"
        wanted = {"sampler": "bounds", "trials": 160}
        run(space(wanted, constraints={"latency_ns": {"min": least}}), folder)
        pruned[least] = sum(p.status == "pruned" for p in stored(folder))
    assert pruned[0] > 30
    assert pruned[1e9] == 0


def test_a_failed_point_counts_and_teaches_nothing(instant, tmp_path, monkeypatch):
    def evaluate(trace: Path, machine: Any, wanted: Any) -> Evaluated:
        if machine.softmax.lanes == 8:
            raise InputError("lanes must be fewer")
        return Evaluated(figures(machine), {}, None)

    monkeypatch.setattr(working, "evaluate", evaluate)
    for sampler in ("nsga2", "tpe"):
        folder = tmp_path / sampler
        counts = run(space({"sampler": sampler, "trials": 60}), folder).counts
        assert counts["done"] + counts["failed"] == 60
        assert counts["failed"] > 0


def test_points_that_failed_are_run_again(instant, tmp_path, monkeypatch):
    """What is learnt from them is another thing then, so other points follow."""

    def evaluate(trace: Path, machine: Any, wanted: Any) -> Evaluated:
        failure = "no" if machine.softmax.lanes > 2 else None
        return Evaluated(figures(machine), {}, failure)

    wanted = space({"sampler": "nsga2", "trials": 60, "batch": 8, "prune": False})
    with monkeypatch.context() as poisoned:
        poisoned.setattr(working, "evaluate", evaluate)
        counts = run(wanted, tmp_path).counts
        assert counts["failed"] > 10
    assert run(wanted, tmp_path, resume=True).counts == counts
    assert run(wanted, tmp_path, resume=True, retry_failed=True).counts["done"] == 60
    points = stored(tmp_path)
    assert [p.number for p in points] == list(range(len(points)))


def test_a_sweep_of_all_points_runs_what_a_search_left_out(instant, tmp_path):
    run(space({"sampler": "bounds", "trials": 160}), tmp_path)
    left_out = sum(p.status == "pruned" for p in stored(tmp_path))
    outcome = run(space(None), tmp_path, resume=True)
    assert (outcome.counts, outcome.ran) == ({"done": 160}, left_out)
    run(space({"sampler": "bounds", "trials": 160}), tmp_path, resume=True)
    with Store(tmp_path, reading=True) as store:  # and a search after it takes no row away
        kept = store._db.execute("select count(*) from points where status = 'done'").fetchone()
    assert kept == (160,)


def test_conditional_axes_are_asked_about_only_where_they_apply():
    axes = {
        "machine": ["spatten", "dense"],
        "machine.softmax.lanes": [1, 2, 4],
        "machine.cascade_topk.lanes": {"values": [1, 4, 16], "when": {"machine": "spatten"}},
    }
    for name in ("nsga2", "tpe"):
        wanted = space({"sampler": name}, axes=axes)
        there = {tuple(a.items()) for a in wanted.assignments()}
        sampler = Evolving(wanted, wanted.search or Search())
        asked = set()
        for _ in range(10):
            found = sampler.ask(8)
            asked |= {tuple(a.items()) for a in found}
            sampler.tell([Verdict((float(i), 1.0)) for i in range(8)])
        assert asked <= there
        assert {len(a) for a in asked} == {2, 3}


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_constraints_and_failures_are_learnt_from(name):
    """Cost falls with a value; beyond 15 of 31 nothing is feasible, or all fails."""

    def share(verdict: Any) -> float:
        axes = {f"machine.{name}": list(range(32)) for name in "abc"}
        wanted = space({"sampler": name}, axes=axes, constraints={"area_mm2": {"max": 15}})
        sampler, late = Evolving(wanted, wanted.search or Search()), []
        for batch in range(12):
            asked = [int(str(a["machine.a"])) for a in sampler.ask(16)]
            late += asked if batch >= 6 else []
            sampler.tell([verdict(value) for value in asked])
        return sum(value <= 15 for value in late) / len(late)

    free = share(lambda v: Verdict((-v, -v), (-1.0,)))
    bound = share(lambda v: Verdict((-v, -v), (v - 15.0,)))
    failing = share(lambda v: None if v > 15 else Verdict((-v, -v), (-1.0,)))
    assert free < 0.4
    assert min(bound, failing) > 0.6


def test_the_first_batch_is_asked_as_it_is_given():
    wanted = space({"sampler": "nsga2", "batch": 4})
    first = random.Random(3).sample(list(wanted.assignments()), 4)
    sampler = Evolving(wanted, wanted.search or Search(), first)
    assert sampler.ask(4) == first


def test_numbers_have_an_order_and_others_have_none():
    axes = Space.of(
        {"axes": {"machine.a": [4, 1, 2.5], "machine.b": [True, 1], "machine.c": [None, 1]}}
    )
    found = {name: ordered(axis, name, 0) for name, axis in axes.axes.items()}
    assert found["machine.a"] == ([1, 2.5, 4], True)
    assert not found["machine.b"][1]
    assert found["machine.c"] == ([None, 1], False)


def test_bounds_of_objectives_and_constraints():
    wanted = space(
        None,
        objectives={"latency_ns": "min", "throughput_gops": "max"},
        constraints={"area_mm2": {"max": 5}, "power_w": {"min": 2, "max": 4}},
    )
    known = {"latency_ns": (3.0, math.inf), "throughput_gops": (0.0, 8.0)}
    assert at_best(known, wanted) == (3.0, -8.0)
    assert at_best(None, wanted) == (-math.inf, -math.inf)
    for power, nearest in (((0, 9), 2), ((0, 1), 1), ((7, 9), 7), ((3, 9), 3), ((0, 3), 2)):
        found = least_broken({"area_mm2": (6, 7), "power_w": power}, wanted)
        assert found == {"area_mm2": 6, "power_w": nearest}
    assert broken({"area_mm2": 5, "power_w": 4}, wanted) is None
    assert broken({"area_mm2": 5, "power_w": 1}, wanted) is not None
    row = {"latency_ns": 1, "throughput_gops": 2, "area_mm2": 10, "power_w": 3}
    assert costs_of(row, wanted) == (1, -2)
    assert violations_of(row, wanted) == (1.0, -0.25)
    assert not Verdict((1,), violations_of(row, wanted)).feasible


def test_optuna_says_nothing(instant, tmp_path, capfd):
    for name in ("nsga2", "tpe"):
        run(space({"sampler": name, "trials": 20}), tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_toml_file_has_a_search(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(
        'method = "spatten"\n[axes]\n"machine.softmax.lanes" = [1, 2]\n[search]\nsampler = "tpe"\n'
    )
    assert Space.read(file).search == Search(sampler="tpe", trials=200, batch=16, prune=True)


def test_a_search_may_have_more_points_than_a_sweep():
    large = {f"machine.a{i}": list(range(100)) for i in range(4)}
    assert space({"trials": 50}, axes=large).check_size(large=False) == 50
    for search in (None, {"sampler": "bounds"}):  # which looks at every point
        with pytest.raises(InputError, match="a space must have at most 1,000,000 points"):
            space(search, axes=large).check_size(large=False)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"search": {"sampler": "best"}}, "sampler must be .*nsga2.*'best'"),
        ({"search": {"trials": 0}}, "trials must be .*1.*0"),
        ({"search": {"batch": 1}}, "batch must be .*2.*1"),
        ({"search": {"tirals": 5}}, "tirals"),
        ({"search": {}, "sample": 5}, "sample must be left out with search, it is 5"),
    ],
)
def test_what_cannot_be_is_named(content, sentence):
    with pytest.raises(InputError, match=sentence):
        Space.of(content)


def test_without_optuna_it_is_named_before_anything_runs(monkeypatch, tmp_path):
    hide(monkeypatch, "optuna")
    Sweep(space({"sampler": "bounds"}), Synthetic(), tmp_path)
    with pytest.raises(InputError, match=r"a search must have Optuna, .*'prunesim\[dse\]'"):
        Sweep(space({"sampler": "tpe"}), Synthetic(), tmp_path)
