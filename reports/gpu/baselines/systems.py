"""Systems as published: `reports/data/gpu/systems.tsv`, each row with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workloads.errors import InputError

TABLE = Path(__file__).parents[2] / "data" / "gpu" / "systems.tsv"
COLUMNS = (
    "workload", "system", "device", "quantity", "unit", "value", "power_w", "basis", "source",
    "note",
)  # fmt: skip
BASES = ("measured by the authors", "simulated by the authors")
GENERATED_TOKENS = 32
"""of a published latency of GPT-2: 32 tokens after a prompt of 992"""
_UNITS = {
    "latency": ("ms",),
    "rate": ("token/s", "TFLOP/s"),
    "speed-up": ("times",),
    "energy saving": ("times",),
}


@dataclass(frozen=True)
class System:
    """One published number."""

    workload: str
    system: str
    device: str
    quantity: str
    unit: str
    value: float
    power_w: float | None
    basis: str
    source: str
    note: str

    @property
    def token_ns(self) -> float | None:
        """Time of a generated token; None: the number gives none."""
        if self.unit == "token/s":
            return 1e9 / self.value
        return self.value * 1e6 / GENERATED_TOKENS if self.unit == "ms" else None


@cache
def read_systems(path: Path = TABLE) -> tuple[System, ...]:
    """Read the table.

    Raises:
        InputError: a column, a number or a word that is not as it must be, with the line.
    """
    lines = path.read_text("utf-8").splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise InputError(f"{path.name} must have the columns {', '.join(COLUMNS)}")
    return tuple(_system(line, f"{path.name}:{at}") for at, line in enumerate(lines[1:], 2))


def _system(line: str, where: str) -> System:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise InputError(f"{where} must have {len(COLUMNS)} fields, it has {len(fields)}")
    found = dict(zip(COLUMNS, fields, strict=True))
    if found["unit"] not in _UNITS.get(found["quantity"], ()):
        raise InputError(
            f"{where}: quantity and unit must be of {_UNITS}, not {found['quantity']!r} in "
            f"{found['unit']!r}"
        )
    if found["basis"] not in BASES:
        raise InputError(f"{where}: basis must be one of {BASES}, not {found['basis']!r}")
    if not found["source"]:
        raise InputError(f"{where}: source must not be empty")
    value = _number(found["value"], "value", where)
    power = _number(found["power_w"], "power_w", where) if found["power_w"] else None
    return System(**{**found, "value": value, "power_w": power})  # type: ignore[arg-type]


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}: {name} must be a number above 0, not {text!r}")
    return value
