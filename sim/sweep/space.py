"""A design space: what is fixed, what varies, what is wanted. From Python or from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sim.sweep.axes import LARGEST, Assignment, Axis, Value, grid, sample, size
from workloads.config import Config, unknown_name
from workloads.errors import InputError
from workloads.trace_part import Part

NAMES = ("workload", "method", "machine", "limit", "seed")
"""What a point is made of, beside fields of workload, method and machine."""
KINDS = ("workload", "method", "machine")
"""What has fields."""

Direction = Literal["min", "max"]
SamplerName = Literal["nsga2", "tpe", "bounds"]
_OBJECTIVES: dict[str, Direction] = {"latency_ns": "min", "energy_pj": "min"}


class Constraint(Config):
    """Bounds of a column within which a point is feasible; both ends belong to it."""

    min: float | None = None
    max: float | None = None

    def model_post_init(self, context: Any) -> None:
        if self.min is None and self.max is None:
            raise InputError("a constraint must have min or max, it has neither")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InputError(
                f"a constraint's min must be at most its max, {self.min:g} is above {self.max:g}"
            )


class Search(Config):
    """Look for the front instead of running every point."""

    sampler: SamplerName = "nsga2"
    """who chooses points: NSGA-II and TPE of Optuna learn from the rows; bounds orders all points
    by what they cannot beat in closed form, and needs no luck"""
    trials: int = Field(200, ge=1)
    """most points that are simulated; a point that is asked for again costs nothing"""
    batch: int = Field(16, ge=2)
    """points asked for at a time, which run side by side; population of NSGA-II"""
    prune: bool = True
    """leave out a point that cannot be on the front, because what it cannot beat in closed form is
    dominated by a point that was simulated, or breaks a constraint; start where bounds are best"""
    seed: int | None = Field(None, ge=0)
    """of the sampler; none: the seed of the space, which traces depend on too"""


class Space(Config):
    """A sweep: see the fields. `Space.read` takes it from a TOML file.

    Raises:
        InputError: an axis over nothing known, an objective without a direction, an empty space.
    """

    title: str = "Design-space sweep"
    workload: str = "minilm-sentences"
    """name of a workload, or the path of a trace; then no method is given"""
    method: str | None = None
    """pruning method; needed unless the workload is a trace or method is an axis"""
    machine: str = "spatten"
    """name of a machine, or the path of its TOML file"""
    limit: int | None = Field(None, ge=1)
    """use only the first so many inputs of the workload"""
    inputs: int | None = Field(None, ge=1)
    """machines run only the first so many inputs of a trace; its accuracy is of all of them"""
    part: Part = "whole"
    """which steps of a trace machines run; decode: the tokens that follow the prompt"""
    seed: int = Field(0, ge=0)
    """of everything random: methods, random axes, samples, search"""
    set: dict[str, Value] = Field(default_factory=dict)
    """fields with a fixed value: `workload.FIELD`, `method.FIELD`, `machine.FIELD`"""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """what varies: workload, method, machine, limit, seed, a field of one of the first three
    (`machine.FIELD`), or any name whose axis says what it sets"""
    sample: int | None = Field(None, ge=1)
    """run so many random points instead of all"""
    objectives: dict[str, Direction] = Field(default_factory=lambda: dict(_OBJECTIVES))
    """columns of the rows, and which way is better"""
    constraints: dict[str, Constraint] = Field(default_factory=dict)
    """columns of the rows, and the bounds of a feasible point"""
    within: list[str] = Field(default_factory=list)
    """axes, or fields that axes set, within whose values the front is looked for: a point is
    compared only with points that have the same there, as the context of a model, which nobody
    chooses for speed; one that takes a single value makes one group and changes nothing"""
    search: Search | None = None
    """run the points that a search chooses instead of all"""

    def model_post_init(self, context: Any) -> None:
        known = dict.fromkeys(NAMES)
        earlier: set[str] = {*NAMES, *self.set}
        for name, axis in self.axes.items():
            for field in axis.fields(name):
                if field not in known and field.partition(".")[0] not in KINDS:
                    raise InputError(unknown_name("axis", field, _with_prefixes(known)))
            for condition in axis.when:
                if condition not in earlier:
                    raise InputError(
                        f"axis {name} must depend on what stands before it, "
                        f"when names {condition!r}"
                    )
            earlier |= {name, *axis.fields(name)}
            for field in set(axis.fields(name)).intersection(NAMES):
                for value in axis.points(name, self.seed):
                    _check_value(field, value)
        self._check_within()
        if not self.objectives:
            raise InputError("objectives must be at least 1, there is none")
        if self.search is not None and self.sample is not None:
            raise InputError(f"sample must be left out with search, it is {self.sample}")

    def _check_within(self) -> None:
        """Check that fronts can be told apart by what axes vary, and that a search keeps to it.

        What no axis sets is refused, not taken for one group: it is a name gone wrong, or a field
        that has lost its axis, and the front would be another than the one asked for.
        """
        varied = {field: None for n, axis in self.axes.items() for field in (n, *axis.fields(n))}
        for name in self.within:
            if not varied:
                raise InputError(f"within must name what an axis sets, there is none for {name!r}")
            if name not in varied:
                raise InputError(unknown_name("within", name, varied))
        if self.within and self.search is not None and self.search.sampler != "bounds":
            raise InputError(
                f"within must be left out with sampler {self.search.sampler}, which ranks all "
                "points together: use sampler = 'bounds', or a sweep for each group"
            )

    @classmethod
    def read(cls, path: Path) -> Space:
        """Read a TOML file; an axis written as a list is one of values.

        Raises:
            InputError: it cannot be read, is not TOML, or describes no space.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise InputError(f"sweep file {path} must be readable: {reason}") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"sweep file {path} must be TOML: {error}") from error
        return cls.of(content)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Space:
        """Return the space that plain data describe: dicts, lists, numbers, text."""
        plain = dict(content)
        if isinstance(axes := plain.get("axes"), Mapping):
            plain["axes"] = {
                name: _axis(name, {"values": axis} if isinstance(axis, list | tuple) else axis)
                for name, axis in axes.items()
            }
        return cls(**plain)

    @property
    def fixed(self) -> dict[str, Value]:
        """Return what does not vary, by the names that conditions use."""
        names: dict[str, Value] = {name: getattr(self, name) for name in NAMES}
        return names | self.set

    def named(self, assignment: Assignment) -> dict[str, Value]:
        """Return what a point has, by the names of axes, of fields that are set, and of `NAMES`."""
        names = self.fixed
        for axis, value in assignment.items():
            names |= self.axes[axis].sets(axis, value)
        return names

    def group(self, assignment: Assignment) -> tuple[Value, ...]:
        """Return the values of `within` at a point; None: what sets it takes no part."""
        names = self.named(assignment)
        return tuple(names.get(name) for name in self.within)

    def assignments(self) -> Iterator[Assignment]:
        """Yield the points of the grid, or of the sample."""
        if self.sample is not None:
            return sample(self.axes, self.fixed, self.seed, self.sample)
        return grid(self.axes, self.fixed, self.seed)

    def size(self) -> int:
        """Return how many points `assignments` yields."""
        total = size(self.axes, self.fixed, self.seed)
        return total if self.sample is None else min(total, self.sample)

    def check_size(self, *, large: bool) -> int:
        """Return the number of points that may be run.

        A search runs `trials` of them, but with sampler bounds it looks at all.

        Raises:
            InputError: more than a million and `large` is false.
        """
        found = self.size()
        if self.search is not None and self.search.sampler != "bounds":
            found = min(found, self.search.trials)
        if found > LARGEST and not large:
            raise InputError(
                f"a space must have at most {LARGEST:,} points unless --yes is given, "
                f"it has {found:,}"
            )
        return found if self.search is None else min(found, self.search.trials)


def _axis(name: str, given: Any) -> Any:
    """Return an axis; what is no table stays, for the space to refuse."""
    try:
        return Axis(**given) if isinstance(given, Mapping) else given
    except InputError as error:
        raise InputError(f"axis {name}: {error}") from None


def _check_value(field: str, value: Value) -> None:
    """Check what an axis gives to one of `NAMES`, as the fields of a space are checked.

    Raises:
        InputError: a limit that is no number of inputs, a machine without a name.
    """
    if field in ("limit", "seed"):
        least = 1 if field == "limit" else 0
        if type(value) is not int or value < least:
            raise InputError(f"{field} must be a whole number, at least {least}, not {value!r}")
    elif not isinstance(value, str):
        raise InputError(f"{field} must be a name, not {value!r}")


def _with_prefixes(names: Mapping[str, None]) -> dict[str, None]:
    return {**names, **{f"{kind}.FIELD": None for kind in KINDS}}
