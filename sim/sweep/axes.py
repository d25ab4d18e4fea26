"""Axes of a design space: which values each takes, and when it takes part."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from workloads.config import Config
from workloads.errors import InputError

Value = str | bool | int | float | None
Assignment = dict[str, Value]
"""One point of a space: axis name -> value, of the axes that take part."""

Bounds = tuple[int | float, int | float]

LARGEST = 1_000_000  # points of a space that need no second thought


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
    count: int | None = Field(None, ge=1)
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
        if self.range is not None:
            found = self._spaced(*self.range)
        elif self.log is not None:
            low, high = self.log
            found = [low * (high / low) ** share for share in _shares(self.count or 1)]
        else:
            assert self.uniform is not None
            drawn = random.Random(f"{seed} {name}")
            found = sorted(drawn.uniform(*self.uniform) for _ in range(self.count or 1))
        whole = all(isinstance(x, int) for x in self.range or self.log or self.uniform or ())
        if whole and (self.step is None or self.step.is_integer()):
            return list(dict.fromkeys(round(x) for x in found))
        return list(dict.fromkeys(float(f"{x:.12g}") for x in found))

    def _spaced(self, low: float, high: float) -> list[float]:
        if self.step is not None:
            # the last value is taken if it lies on the grid but for rounding
            return [low + i * self.step for i in range(int((high - low) / self.step + 1e-9) + 1)]
        return [low + (high - low) * share for share in _shares(self.count or 1)]

    def applies(self, others: Mapping[str, Value]) -> bool:
        """Tell whether the axis takes part beside these values."""
        return all(
            others.get(name) in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
        )

    def fields(self, name: str) -> list[str]:
        """Return the fields it sets."""
        return [name] if self.set is None else self.set


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
        yield from _combine(rest, values, known | {name: value}, chosen | {name: value})


def size(axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int) -> int:
    """Return how many combinations `grid` yields.

    Axes that depend on nothing, and on which nothing depends, are counted, not walked through.
    """
    named = {name for axis in axes.values() for name in axis.when}
    walked = {n: a for n, a in axes.items() if a.when or n in named}
    free = math.prod(len(a.points(n, seed)) for n, a in axes.items() if n not in walked)
    found = 0
    for _ in grid(walked, fixed, seed):
        found += 1
        if found * free > 100 * LARGEST:
            break  # more than anyone waits for: the exact number matters no longer
    return found * free


def sample(
    axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int, count: int
) -> Iterator[Assignment]:
    """Yield `count` different random combinations in the order of `grid`, or all there are.

    Each is as likely as any other, except in spaces too large to walk through: there axes are
    drawn one by one, so combinations with few further axes come more often.
    """
    total = size(axes, fixed, seed)
    drawn = random.Random(seed)
    if total > LARGEST:
        yield from _draw(axes, fixed, seed, count)
        return
    wanted = iter(sorted(drawn.sample(range(total), min(count, total))))
    following = next(wanted, None)
    for number, chosen in enumerate(grid(axes, fixed, seed)):
        if number == following:
            yield chosen
            following = next(wanted, None)


def _draw(
    axes: Mapping[str, Axis], fixed: Mapping[str, Value], seed: int, count: int
) -> Iterator[Assignment]:
    values = {name: axis.points(name, seed) for name, axis in axes.items()}
    drawn = random.Random(seed)
    seen: set[tuple[tuple[str, Value], ...]] = set()
    while len(seen) < count:
        chosen: Assignment = {}
        for name, axis in axes.items():
            if axis.applies({**fixed, **chosen}):
                chosen[name] = drawn.choice(values[name])
        identity = tuple(chosen.items())
        if identity not in seen:
            seen.add(identity)
            yield chosen
