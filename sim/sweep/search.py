"""A search: points are asked for in batches, run as those of a sweep, and judged by their rows.

What is asked depends on the seed and on rows, never on when a point ended: the same points come
in the same order with any engine, and `--resume` asks for them again and finds them in the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sim.sweep.axes import Assignment, Value, sample
from sim.sweep.foresight import Range
from sim.sweep.pareto import FloatArray, spread_within
from sim.sweep.point import Point, TraceOrder, point_of
from sim.sweep.samplers import (
    Evolving,
    Ordered,
    Sampler,
    Verdict,
    costs_of,
    import_optuna,
    seed_of,
    violations_of,
)
from sim.sweep.space import Search, Space
from sim.sweep.work import Work

STALE = 30
"""Batches one after another that ask for nothing new, after which a search is over."""
CANDIDATES = 32
"""Random points, for each of a batch, whose bounds decide about the first batch."""
CHUNK = 64
"""Points whose bounds a worker finds in one call."""


def check_search(space: Space) -> None:
    """Raise InputError when a search needs Optuna and it is not installed."""
    if space.search is not None and space.search.sampler != "bounds":
        import_optuna()


def search(work: Work, asked: Search) -> None:
    """Run a search to its end.

    It ends when `trials` points were simulated or failed, when every point of the space was asked
    for, or after `STALE` batches that brought nothing new.
    """
    _Run(work, asked).run()


@dataclass(frozen=True)
class _Candidate:
    """A point that is asked for the first time."""

    point: Point
    key: str
    can_run: bool


class _Run:
    def __init__(self, work: Work, asked: Search) -> None:
        self._work, self._search, self._space = work, asked, work.space
        self._keys: dict[tuple[object, ...], str] = {}  # assignment -> key
        self._verdicts: dict[str, Verdict | None] = {}  # key -> what became of it
        self._foreseen: dict[str, dict[str, Range]] = {}
        self._simulated = 0
        self._fronts: dict[tuple[Value, ...], _Front] = {}  # a group of `within` -> its front

    def run(self) -> None:
        sampler, size, stale = self._sampler(), self._space.size(), 0
        while self._simulated < self._search.trials and len(self._keys) < size and stale < STALE:
            asked = sampler.ask(self._search.batch)
            if not asked:
                return
            known = len(self._keys)
            self._look_at(asked)
            stale = 0 if len(self._keys) > known else stale + 1
            sampler.tell([self._verdicts.get(self._keys[_identity(a)]) for a in asked])

    def _sampler(self) -> Sampler:
        if self._search.sampler == "bounds":
            return Ordered(self._by_bounds(self._space.assignments(), self._search.trials))
        return Evolving(self._space, self._search, self._first() if self._search.prune else ())

    def _first(self) -> list[Assignment]:
        """Return the most promising of some random points, on as many traces as a batch may need.

        Ten generations are all that a search of a few hundred points has. From a random one NSGA-II
        spends most of them on the way to the front, and may lose a good trace for ever.
        """
        batch, orders = self._search.batch, set[TraceOrder]()
        drawn = sample(
            self._space.axes,
            self._space.fixed,
            seed_of(self._space, self._search),
            CANDIDATES * batch,
        )
        candidates = []
        for assignment in drawn:
            order = point_of(self._space, 0, assignment).order
            if order in orders or len(orders) < batch:
                orders.add(order)
                candidates.append(assignment)
        return self._by_bounds(candidates, batch)[:batch]

    def _by_bounds(self, assignments: Iterable[Assignment], count: int) -> list[Assignment]:
        """Return points in the order in which to look at them; `count`: as in `spread`.

        The groups of `within` take turns.
        """
        points = [point_of(self._space, 0, assignment) for assignment in assignments]
        self._work.make_traces(dict.fromkeys(point.order for point in points))
        candidates = [self._candidate(point) for point in points]
        self._foresee(candidates)
        costs = [at_best(self._foreseen.get(c.key), self._space) for c in candidates]
        groups = [self._space.group(point.assignment) for point in points]
        order = spread_within(np.array(costs), count, groups)
        return [points[i].assignment for i in order]

    def _look_at(self, asked: Iterable[Assignment]) -> None:
        """Run those of a batch that are new, unless they cannot be on the front."""
        new = {_identity(a): a for a in asked if _identity(a) not in self._keys}
        points = [point_of(self._space, 0, assignment) for assignment in new.values()]
        self._work.make_traces(dict.fromkeys(point.order for point in points))
        number, fresh = len(self._verdicts), list[_Candidate]()
        for identity, point in zip(new, points, strict=True):
            found = self._candidate(point)
            self._keys[identity] = found.key
            if found.key not in self._verdicts:
                self._verdicts[found.key] = None
                numbered = replace(point, number=number + len(fresh))
                fresh.append(replace(found, point=numbered))
        if self._search.prune:
            self._foresee(fresh)
            fresh = [candidate for candidate in fresh if not self._left_out(candidate)]
        self._simulate(fresh[: self._search.trials - self._simulated])

    def _simulate(self, candidates: list[_Candidate]) -> None:
        self._work.run((c.point for c in candidates), self._search.trials, self._simulated)
        self._simulated += len(candidates)
        for candidate in candidates:
            found = self._work.store.get(candidate.key)
            if found is None or found.row is None or found.status != "done":
                continue
            violations = violations_of(found.row, self._space)
            verdict = Verdict(costs_of(found.row, self._space), violations)
            self._verdicts[candidate.key] = verdict
            if verdict.feasible:
                self._front(candidate.point).add(verdict.costs, candidate.point.number)

    def _left_out(self, candidate: _Candidate) -> bool:
        """Tell whether a point cannot be on the front; if so keep why."""
        known = self._foreseen.get(candidate.key)
        if known is None:
            return False
        costs, worst = at_best(known, self._space), least_broken(known, self._space)
        reason = broken(worst, self._space)
        if reason is None:
            number = self._front(candidate.point).dominating(costs)
            if number is None:
                return False
            reason = f"its bounds are dominated by point {number}"
        if np.isfinite(costs).all():  # else there is nothing to learn from it
            violations = violations_of(worst, self._space)
            self._verdicts[candidate.key] = Verdict(costs, violations)
        self._work.leave_out(candidate.point, reason)
        return True

    def _front(self, point: Point) -> _Front:
        """Return the front so far among those that a point is compared with."""
        return self._fronts.setdefault(self._space.group(point.assignment), _Front())

    def _candidate(self, point: Point) -> _Candidate:
        key, failure = self._work.address(point)
        return _Candidate(point, key, failure is None)

    def _foresee(self, candidates: Iterable[_Candidate]) -> None:
        """Find the bounds of those that can run, chunk by chunk of the same trace."""
        by_trace: dict[TraceOrder, dict[str, Point]] = {}
        for c in candidates:
            if c.can_run and c.key not in self._foreseen:
                by_trace.setdefault(c.point.order, {})[c.key] = c.point
        chunks = [
            points[start : start + CHUNK]
            for points in (list(found.values()) for found in by_trace.values())
            for start in range(0, len(points), CHUNK)
        ]
        for chunk, found in self._work.foresee(chunks):
            for point, known in zip(chunk, found, strict=True):
                if known is not None:
                    self._foreseen[self._work.address(point)[0]] = known


def at_best(known: Mapping[str, Range] | None, space: Space) -> tuple[float, ...]:
    """Return the costs that a point cannot beat; nothing is known of it: better than any."""
    if known is None:
        return (-math.inf,) * len(space.objectives)
    best = {name: known[name][way == "max"] for name, way in space.objectives.items()}
    return costs_of(best, space)


def least_broken(known: Mapping[str, Range], space: Space) -> dict[str, float]:
    """Return of each constraint's column the value within its range that breaks it least."""
    found = {}
    for name, bound in space.constraints.items():
        low, high = known[name]
        wanted = high if bound.min is None else bound.min
        found[name] = min(max(low, wanted), high)
        if bound.max is not None and found[name] > bound.max:
            found[name] = max(low, bound.max)
    return found


def broken(values: Mapping[str, float], space: Space) -> str | None:
    """Return which constraint values break, in one sentence; None: they hold all."""
    for name, bound in space.constraints.items():
        value = values[name]
        if bound.max is not None and value > bound.max:
            return f"{name} must be at most {bound.max:g}, it is at least {value:g}"
        if bound.min is not None and value < bound.min:
            return f"{name} must be at least {bound.min:g}, it is at most {value:g}"
    return None


def _identity(assignment: Assignment) -> tuple[object, ...]:
    return tuple(assignment.items())


class _Front:
    """Costs of the feasible points so far that none of them dominates."""

    def __init__(self) -> None:
        self._costs: FloatArray = np.zeros((0, 0))
        self._numbers: list[int] = []

    def add(self, costs: tuple[float, ...], number: int) -> None:
        if self.dominating(costs) is not None:
            return
        if not self._numbers:
            self._costs, self._numbers = np.array([costs]), [number]
            return
        stays: Any = ~((self._costs >= costs).all(axis=1) & (self._costs > costs).any(axis=1))
        self._costs = np.concatenate([self._costs[stays], [costs]])
        self._numbers = [n for n, stay in zip(self._numbers, stays, strict=True) if stay]
        self._numbers.append(number)

    def dominating(self, costs: tuple[float, ...]) -> int | None:
        """Return the number of a point that dominates costs; None: none does."""
        if not self._numbers:
            return None
        better = (self._costs <= costs).all(axis=1) & (self._costs < costs).any(axis=1)
        return self._numbers[int(np.argmax(better))] if better.any() else None
