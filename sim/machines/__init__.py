"""Machines composed of blocks and a memory."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.machines.a3 import A3
from sim.machines.accllm import AccLlm
from sim.machines.base import BareMachine
from sim.machines.dense import Dense
from sim.machines.flightllm import FlightLlm
from sim.machines.mnnfast import MnnFast
from sim.machines.spatten import SpAtten
from sim.machines.spatten_e2e import SpAttenE2e
from sim.machines.spatten_eighth import SpAttenEighth
from sim.machines.spatten_rtl import SpAttenRtl
from workloads.config import unknown_name
from workloads.errors import InputError

_ALL: tuple[type[BareMachine], ...] = (
    SpAtten,
    SpAttenE2e,
    SpAttenEighth,
    SpAttenRtl,
    A3,
    MnnFast,
    Dense,
    AccLlm,
    FlightLlm,
)
MACHINES: dict[str, type[BareMachine]] = {machine.name: machine for machine in _ALL}
"""The only list of machines: name -> configuration class."""


def make_machine(name: str, settings: Mapping[str, Any] | None = None) -> BareMachine:
    """Return a machine by name, or from a TOML file, with some fields changed.

    A TOML file names its `base` machine; all other keys are fields, tables are groups.

    Args:
        name: of `MACHINES`, or the path of a `.toml` file.
        settings: dotted field names and values, such as `{"value_topk.lanes": "32"}`.

    Raises:
        InputError: an unknown machine or field, or an impossible value.
    """
    fields: dict[str, Any] = {}
    if name.endswith(".toml"):
        name, fields = _read_toml(Path(name))
    if name not in MACHINES:
        raise InputError(unknown_name("machine", name, MACHINES))
    return MACHINES[name]().override(fields | dict(settings or {}))


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"machine file {path} must be readable: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"machine file {path} must be TOML: {error}") from error
    if "base" not in content:
        raise InputError(f'machine file {path} must name its base machine: base = "spatten"')
    base = str(content.pop("base"))
    return base, dict(_flatten(content))


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            flat += _flatten(value, f"{prefix}{key}.")
        else:
            flat.append((prefix + key, value))
    return flat
