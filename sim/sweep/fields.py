"""Checks of a space against what its methods, machines and rows have, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from sim.result import ROW_COLUMNS
from sim.sweep.axes import Axis
from sim.sweep.space import Space
from workloads.config import Config, nearest_field
from workloads.errors import InputError

ACCURACY = "accuracy_"
TEXTS = (
    *("workload", "model", "method", "parameters", "machine", "config", "config_hash"),
    *("prunesim_version", "dram_reads_per_channel", "topk_data", "ideal", "synthetic"),
)
NUMBERS = [name for name in ROW_COLUMNS if name not in TEXTS]
"""Columns of a row that can be an objective or a constraint, beside `accuracy_NAME`."""


def check_columns(space: Space) -> None:
    """Check that objectives and constraints are columns of a row.

    Raises:
        InputError: one is not, with the nearest that is.
    """
    for what, names in (("objective", space.objectives), ("constraint", space.constraints)):
        for name in names:
            if name in NUMBERS or name.startswith(ACCURACY):
                continue
            near = get_close_matches(name, [*NUMBERS, ACCURACY], n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(
                f"{what} must be a number of the rows, one of {', '.join(NUMBERS)} or "
                f"accuracy_NAME, not {name!r}{hint}"
            )


def check_fields(space: Space, kind: str, make: Callable[[str], Config]) -> None:
    """Check that every field a space sets is there, in all machines or methods it is set in.

    Args:
        space: the sweep.
        kind: "machine" or "method".
        make: returns one of them by name.

    Raises:
        InputError: an unknown name, or a field that one of them has not.
    """
    configs = {name: make(name) for name in names_of(space, kind)}
    for axis_name, axis, field in _settings(space, kind):
        for name, config in configs.items():
            applies = axis is None or _may_apply(space, axis, kind, name)
            if not applies or config.has_field(field):
                continue
            near = nearest_field(field, [config])
            hint = f" (did you mean '{kind}.{near}'?)" if near else ""
            if len(configs) > 1 and any(c.has_field(field) for c in configs.values()):
                having = [n for n, c in configs.items() if c.has_field(field)]
                hint = f" (give the axis when = {{ {kind} = {having} }})"
            raise InputError(
                f"axis {axis_name} must set a field of {kind} {name}, not '{kind}.{field}'{hint}"
            )


def names_of(space: Space, kind: str) -> list[str]:
    """Return the machines, methods or workloads that a space may use."""
    setting = {name: axis for name, axis in space.axes.items() if kind in axis.fields(name)}
    found = [
        str(value) for name, axis in setting.items() for value in axis.points(name, space.seed)
    ]
    fixed = space.fixed[kind]
    if fixed is not None and all(axis.when for axis in setting.values()):
        found.append(str(fixed))
    return list(dict.fromkeys(found))


def _settings(space: Space, kind: str) -> Iterator[tuple[str, Axis | None, str]]:
    """Yield (name of the axis, axis or None, field) of all that is set in this kind."""
    prefix = f"{kind}."
    for name in space.set:
        if name.startswith(prefix):
            yield name, None, name.removeprefix(prefix)
    for name, axis in space.axes.items():
        for field in axis.fields(name):
            if field.startswith(prefix):
                yield name, axis, field.removeprefix(prefix)


def _may_apply(space: Space, axis: Axis, kind: str, name: str) -> bool:
    """Tell whether the conditions of an axis leave room for a machine or method."""
    for condition, wanted in axis.when.items():
        other = space.axes.get(condition)
        if condition == kind or (other is not None and kind in other.fields(condition)):
            return name in wanted if isinstance(wanted, list) else name == wanted
    return True
