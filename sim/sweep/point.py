"""From an assignment of axes to the thing that is run, and its content address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from sim.machines import make_machine
from sim.machines.base import BareMachine
from sim.sweep.axes import Assignment, Value
from sim.sweep.space import KINDS, Space
from workloads.trace_part import Part

ROOT = Path(__file__).parents[2]
CODE = ("workloads", "algos", "sim")  # packages whose sources decide what a row says


@dataclass(frozen=True)
class TraceOrder:
    """What trace is wanted. Settings are sorted pairs, so that orders can be compared."""

    workload: str
    method: str | None
    settings: tuple[tuple[str, Value], ...]
    limit: int | None
    seed: int
    inputs: int | None  # that machines run; none: all
    part: Part
    workload_settings: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Point:
    """One point of a sweep."""

    number: int  # place in the space
    assignment: Assignment
    order: TraceOrder
    machine: str
    settings: Mapping[str, Value] = field(default_factory=dict)

    @cached_property
    def configuration(self) -> BareMachine:
        """The machine.

        Raises:
            InputError: an unknown field, or an impossible value.
        """
        return make_machine(self.machine, self.settings)


def point_of(space: Space, number: int, assignment: Assignment) -> Point:
    """Return the point that an assignment of the space's axes means."""
    names: dict[str, Value] = dict(space.fixed)
    for axis, value in assignment.items():
        names |= dict.fromkeys(space.axes[axis].fields(axis), value)
    settings = {
        kind: {
            name.partition(".")[2]: value
            for name, value in names.items()
            if name.startswith(f"{kind}.")
        }
        for kind in KINDS
    }
    order = TraceOrder(
        workload=str(names["workload"]),
        method=None if names["method"] is None else str(names["method"]),
        settings=tuple(sorted(settings["method"].items())),
        limit=None if names["limit"] is None else int(str(names["limit"])),
        seed=int(str(names["seed"])),
        inputs=space.inputs,
        part=space.part,
        workload_settings=tuple(sorted(settings["workload"].items())),
    )
    return Point(number, assignment, order, str(names["machine"]), settings["machine"])


def point_key(trace_key: str, machine: BareMachine) -> str:
    """Return the content address of a result: of its trace, its machine and the code."""
    return digest([code_version(), trace_key, machine.name, machine.model_dump_json()])


def digest(parts: Any) -> str:
    """Return 32 hex digits of the SHA-256 of JSON data."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return 12 hex digits of the SHA-256 of all sources that decide what a row says."""
    found = hashlib.sha256()
    for package in CODE:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".tsv", ".json", ".safetensors") and path.is_file():
                found.update(str(path.relative_to(ROOT)).encode())
                found.update(path.read_bytes())
    return found.hexdigest()[:12]
