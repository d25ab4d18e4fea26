"""The commands that make things again: the sweep, one point, one figure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.sweeping.read import SweepData
from sim.sweep.traces import path_of
from workloads.config import Config

SPACE_FILE = "sweep.toml"


def sweep_command(data: SweepData) -> str:
    """Return the command that makes the whole sweep again, in a new folder."""
    folder = data.folder
    return shlex.join(["prunesim", "sweep", str(folder / SPACE_FILE), "--out", f"{folder}-again"])


def figure_command(folder: Path, name: str) -> str:
    """Return the command that draws one figure again."""
    return shlex.join(["prunesim", "report", str(folder), "--figure", name])


def point_command(data: SweepData, number: int) -> str:
    """Return the command that runs one point alone, on the trace that the sweep has kept."""
    point = data.point(number)
    trace = path_of(data.folder, str(data.points.at[number, "trace"]))
    parts = ["prunesim", "simulate", str(trace), "--machine", point.machine]
    for name, value in point.settings.items():
        parts += ["--set", f"{name}={value}"]
    return shlex.join(parts)


def as_toml(space: Config) -> str:
    """Return a space as the TOML file that gives it again; what is at its default is left out."""
    plain = space.model_dump(mode="json", exclude_defaults=True)
    plain |= {"axes": space.model_dump(mode="json")["axes"]} if "axes" in plain else {}
    tables = {name: value for name, value in plain.items() if isinstance(value, dict) and value}
    lines = [f"{_key(n)} = {_value(v)}" for n, v in plain.items() if not isinstance(v, dict)]
    for name, table in tables.items():
        lines += ["", f"[{_key(name)}]"]
        lines += [f"{_key(n)} = {_value(_short(v))}" for n, v in table.items() if v is not None]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> Any:
    """Write an axis that is nothing but values as a list."""
    if isinstance(value, dict):
        given = {n: v for n, v in value.items() if v is not None and v != {}}
        return given["values"] if list(given) == ["values"] else given
    return value


def _key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isalnum() and plain.isascii() else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        parts = (f"{_key(n)} = {_value(v)}" for n, v in value.items() if v is not None)
        return "{ " + ", ".join(parts) + " }"
    return repr(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
