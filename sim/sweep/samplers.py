"""Who chooses the points of a search: Optuna's samplers, or the bounds of all points."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sim.sweep.axes import Assignment, Axis, Value
from sim.sweep.space import Constraint, Search, Space
from workloads.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """What a point turned out to be."""

    costs: tuple[float, ...]  # a value an objective, of which less is better
    violations: tuple[float, ...] = ()  # one a constraint, relative; at most 0: it holds

    @property
    def feasible(self) -> bool:
        """Whether it holds all constraints."""
        return all(violation <= 0 for violation in self.violations)


class Sampler(Protocol):
    """Chooses points. What it is told decides what it asks next, and nothing else does."""

    def ask(self, count: int) -> list[Assignment]:
        """Return points to look at, maybe some it has asked for before; none: that is all."""

    def tell(self, verdicts: Sequence[Verdict | None]) -> None:
        """Say what became of the points last asked for, in that order; None: it failed."""


class Ordered:
    """Asks for points in a given order.

    Args:
        points: in that order.
    """

    def __init__(self, points: Sequence[Assignment]) -> None:
        self._points, self._next = points, 0

    def ask(self, count: int) -> list[Assignment]:
        found = list(self._points[self._next : self._next + count])
        self._next += len(found)
        return found

    def tell(self, verdicts: Sequence[Verdict | None]) -> None:
        """Learn nothing."""


class Evolving:
    """NSGA-II or TPE of Optuna over the axes of a space.

    An axis of numbers is a whole number, the place of its value from the least to the largest, so
    that neighbours count as near; any other axis is a choice. An axis that does not take part in a
    point is not asked about.

    Args:
        space: its axes.
        search: which sampler, and its seed.
        first: what it asks for before it chooses by itself.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, space: Space, search: Search, first: Sequence[Assignment] = ()) -> None:
        optuna: Any = import_optuna()
        self._space = space
        self._values = {name: ordered(axis, name, space.seed) for name, axis in space.axes.items()}
        self._asked: list[Any] = []
        self._constraints = list(space.constraints)
        self._worst = (LEAST,) * len(space.objectives)
        seed = seed_of(space, search)
        with _quiet(optuna):
            self._study: Any = optuna.create_study(
                sampler=_sampler(optuna, search, seed),
                directions=["minimize"] * len(space.objectives),
            )
            for assignment in first:
                places = {n: _place(v, self._values[n][0]) for n, v in assignment.items()}
                self._study.enqueue_trial(places)
        self._optuna = optuna

    def ask(self, count: int) -> list[Assignment]:
        with _quiet(self._optuna):
            self._asked = [self._study.ask() for _ in range(count)]
            return [self._suggest(trial) for trial in self._asked]

    def tell(self, verdicts: Sequence[Verdict | None]) -> None:
        with _quiet(self._optuna):
            for trial, verdict in zip(self._asked, verdicts, strict=True):
                # a failure is told as a broken constraint: TPE does not learn from failed trials
                told = verdict or Verdict(self._worst, (0.0,) * len(self._constraints))
                trial.set_constraint(_RUNS, 0.0 if verdict else FAILED)
                for name, violation in zip(self._constraints, told.violations, strict=True):
                    trial.set_constraint(name, violation)
                self._study.tell(trial, told.costs)
                self._worst = tuple(map(max, self._worst, told.costs))

    def _suggest(self, trial: Any) -> Assignment:
        known, chosen = dict(self._space.fixed), Assignment()
        for name, axis in self._space.axes.items():
            if not axis.applies(known):
                continue
            values, is_ordered = self._values[name]
            if is_ordered:
                place = trial.suggest_int(name, 0, len(values) - 1)
            else:
                place = trial.suggest_categorical(name, range(len(values)))
            known[name] = chosen[name] = values[place]
        return chosen


_RUNS = "runs"
FAILED = 1e6
"""Violation of a point that failed: more than any constraint is broken by."""
LEAST = -1e300
"""Costs of a point that fails before any other is known."""


def _place(value: Value, values: Sequence[Value]) -> int:
    """Return the place of a value; True is not 1 here."""
    return next(i for i, v in enumerate(values) if v == value and type(v) is type(value))


def seed_of(space: Space, search: Search) -> int:
    """Return the seed of the sampler."""
    return space.seed if search.seed is None else search.seed


def ordered(axis: Axis, name: str, seed: int) -> tuple[list[Value], bool]:
    """Return the values of an axis, and whether they have an order: numbers, then sorted."""
    values = axis.points(name, seed)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return ([*sorted(numbers)], True) if len(numbers) == len(values) else (values, False)


def costs_of(row: Mapping[str, Any], space: Space) -> tuple[float, ...]:
    """Return the objectives of a row, turned so that less is better."""
    return tuple(
        float(row[name]) * (1 if way == "min" else -1) for name, way in space.objectives.items()
    )


def violations_of(row: Mapping[str, Any], space: Space) -> tuple[float, ...]:
    """Return by how much a row breaks each constraint, relative to it; at most 0: it holds."""
    return tuple(_excess(float(row[name]), bound) for name, bound in space.constraints.items())


def _excess(value: float, bound: Constraint) -> float:
    below = -math.inf if bound.min is None else bound.min - value
    above = -math.inf if bound.max is None else value - bound.max
    return max(below, above) / (max(abs(bound.min or 0), abs(bound.max or 0)) or 1.0)


def _sampler(optuna: Any, search: Search, seed: int) -> Any:
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(
            n_startup_trials=search.batch,
            multivariate=True,
            group=True,  # axes that do not always take part are modelled together as well
            constant_liar=True,  # the points of a batch keep away from each other
            seed=seed,
        )
    return optuna.samplers.NSGAIISampler(population_size=search.batch, seed=seed)


def import_optuna() -> Any:
    """Return Optuna.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(
            "a search must have Optuna, it is missing: pip install 'prunesim[dse]'"
        ) from None
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna neither report every trial nor warn that options are experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
