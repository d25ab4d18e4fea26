"""Axes of a design space: which values each takes, and when it takes part."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import Field

from workloads.config import Config
from workloads.errors import InputError

Value = str | bool | int | float | None
Assignment = dict[str, Value]
"""One point of a space: axis name -> value, of the axes that take part."""

Bounds = tuple[int | float, int | float]

LARGEST = 1_000_000  # points of a space that need no second thought; values of an axis


class Axis(Config):
    """One thing that is varied. Exactly one of `values`, `range`, `log` and `uniform` is given.

    Raises:
        InputError: no values, two kinds of them, or a range that is none.
    """

    values: list[Value] | None = None
    """The values themselves, in order."""
    range: Bounds | None = None
    """First and last of evenly spaced values; `count` or `step` says how many. Here and below,
    bounds written as whole numbers give whole numbers, each once: 1 to 8, not 1.0 to 8.0."""
    log: Bounds | None = None
    """First and last of values in geometric progression; `count` says how many."""
    uniform: Bounds | None = None
    """Bounds of `count` random values, drawn once for the whole sweep."""
    count: int | None = Field(None, ge=1, le=LARGEST)
    step: float | None = Field(None, gt=0)
    set: list[str] | None = None
    """Fields that take the value, all the same; none: the field that the axis is named after."""
    when: dict[str, Value | list[Value]] = Field(default_factory=dict)
    """Values of other axes for which this one takes part: one value, or any of several."""

    def model_post_init(self, context: Any) -> None:
        kinds = [name for name in ("values", "range", "log", "uniform") if self._given(name)]
        if len(kinds) != 1:
            raise InputError(
                "an axis must have one of values, range, log and uniform, not "
                + (" and ".join(kinds) or "none")
            )
        for name in ("range", "log", "uniform"):
            self._check_bounds(name, getattr(self, name))
        if self.values is not None and not self.values:
            raise InputError("values of an axis must be at least 1, there are none")
        if self.values is None and self.count is None and (self.range is None or not self.step):
            raise InputError(f"an axis with {kinds[0]} must have count, it has none")
        for value in self.values or ():
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"values of an axis must be finite, one is {value}")
        if self.range is not None and self.step and self._steps() > LARGEST:
            raise InputError(
                f"an axis must have at most {LARGEST:,} values, it has {self._steps():,}"
            )

    def _given(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _check_bounds(self, name: str, bounds: Bounds | None) -> None:
        if bounds is None:
            return
        low, high = bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"{name} of an axis must rise, it is {low:g} to {high:g}")
        if name == "log" and low <= 0:
            raise InputError(f"log of an axis must start above 0, not at {low:g}")

    def points(self, name: str, seed: int) -> list[Value]:
        """Return the values, each once, in order.

        Args:
            name: of the axis; with `seed` it decides what `uniform` draws.
            seed: of the sweep.
        """
        if self.values is not None:
            return list(dict.fromkeys(self.values))
        whole = all(isinstance(x, int) for x in self.range or self.log or self.uniform or ())
        if self.range is not None:
            found = self._spaced(*self.range)
        elif self.log is not None:
            low, high = self.log
            found = [low * (high / low) ** share for share in _shares(self.count or 1)]
        else:
            assert self.uniform is not None
            drawn = random.Random(f"{seed} {name}")
            draw: Callable[..., float] = drawn.randint if whole else drawn.uniform
            found = sorted(draw(*self.uniform) for _ in range(self.count or 1))
        if whole and (self.step is None or self.step.is_integer()):
            return list(dict.fromkeys(round(x) for x in found))
        return list(dict.fromkeys(float(f"{x:.12g}") for x in found))

    def _spaced(self, low: float, high: float) -> list[float]:
        if self.step is not None:
            return [low + i * self.step for i in range(self._steps())]
        return [low + (high - low) * share for share in _shares(self.count or 1)]

    def _steps(self) -> int:
        """Return how many values `step` gives; the last may miss the end by rounding."""
        assert self.range is not None
        assert self.step is not None
        low, high = self.range
        return int((high - low) / self.step + 1e-9) + 1

    def applies(self, others: Mapping[str, Value]) -> bool:
        """Tell whether the axis takes part beside these values."""
        return all(self.meets(name, others) for name in self.when)

    def meets(self, name: str, others: Mapping[str, Value]) -> bool:
        """Tell whether one condition of `when` holds."""
        wanted = self.when[name]
        return others.get(name) in (wanted if isinstance(wanted, list) else [wanted])

    def fields(self, name: str) -> list[str]:
        """Return the fields it sets."""
        return [name] if self.set is None else self.set

    def sets(self, name: str, value: Value) -> dict[str, Value]:
        """Return what conditions may ask for when it takes a value: itself and its fields."""
        return {name: value} | dict.fromkeys(self.fields(name), value)


def _shares(count: int) -> list[float]:
    return [0.0] if count == 1 else [i / (count - 1) for i in range(count)]


def grid(axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int) -> Iterator[Assignment]:
    """Yield every combination of the axes, the last axis fastest; nothing is kept in memory.

    Args:
        axes: by name; an axis may depend on those before it, and on `fixed`.
        fixed: values that do not vary.
        seed: of `uniform` axes.
    """
    values = {name: axis.points(name, seed) for name, axis in axes.items()}
    yield from _combine(list(axes.items()), values, dict(fixed), {})


def _combine(
    axes: list[tuple[str, Axis]],
    values: Mapping[str, list[Value]],
    known: dict[str, Value],
    chosen: Assignment,
) -> Iterator[Assignment]:
    if not axes:
        yield dict(chosen)
        return
    (name, axis), rest = axes[0], axes[1:]
    if not axis.applies(known):
        yield from _combine(rest, values, known, chosen)
        return
    for value in values[name]:
        following = known | axis.sets(name, value)
        yield from _combine(rest, values, following, chosen | {name: value})


def size(axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int) -> int:
    """Return how many combinations `grid` yields, without walking through them."""
    return _Tree(axes, fixed, seed).size


def sample(
    axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int, count: int
) -> Iterator[Assignment]:
    """Yield `count` different random combinations in the order of `grid`, or all there are.

    Each is as likely as any other, however large the space.
    """
    tree = _Tree(axes, fixed, seed)
    if count >= tree.size:
        yield from grid(axes, fixed, seed)
        return
    drawn = random.Random(seed)
    if tree.size <= sys.maxsize:
        places = set(drawn.sample(range(tree.size), count))
    else:
        places = set()
        while len(places) < count:
            places.add(drawn.randrange(tree.size))
    for place in sorted(places):
        yield tree.at(place)


class _Tree:
    """The combinations of axes as a tree, counted by subtrees.

    How many combinations follow a choice depends only on which conditions of later axes it
    meets. There are few such patterns, so counting takes no time in spaces of any size.
    """

    def __init__(self, axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int) -> None:
        self._axes = list(axes.items())
        self._values = [axis.points(name, seed) for name, axis in self._axes]
        self._fixed = dict(fixed)
        self._conditions = {name for axis in axes.values() for name in axis.when}
        self._counted: dict[tuple[int, tuple[bool, ...]], int] = {}
        self.size = self._count(0, self._fixed)

    def at(self, place: int) -> Assignment:
        """Return the combination that `grid` yields at a place, from 0."""
        known, chosen = dict(self._fixed), {}
        for level, (name, axis) in enumerate(self._axes):
            if not axis.applies(known):
                continue
            for value, below in self._branches(level, known):
                if place < below:
                    chosen[name] = value
                    known |= axis.sets(name, value)
                    break
                place -= below
        return chosen

    def _count(self, level: int, known: dict[str, Value]) -> int:
        if level == len(self._axes):
            return 1
        later = self._axes[level:]
        pattern = tuple(axis.meets(n, known) for _, axis in later for n in axis.when)
        found = self._counted.get((level, pattern))
        if found is None:
            found = sum(below for _, below in self._branches(level, known))
            self._counted[level, pattern] = found
        return found

    def _branches(self, level: int, known: dict[str, Value]) -> Iterator[tuple[Value, int]]:
        """Yield (value, combinations that follow it); of an axis that is left out, one of none."""
        name, axis = self._axes[level]
        if not axis.applies(known):
            yield None, self._count(level + 1, known)
        elif self._conditions.isdisjoint(axis.sets(name, None)):
            below = self._count(level + 1, known)
            for value in self._values[level]:
                yield value, below
        else:
            for value in self._values[level]:
                yield value, self._count(level + 1, known | axis.sets(name, value))
