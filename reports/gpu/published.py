"""Published kernel measurements beside the cost model's predictions.

`reports/data/gpu/published.tsv` holds the measurements, each with its source and its role:

- `curve`: sets one of the model's few curves (`sim.gpu.curves.SET_BY`);
- `check`: judges the model, and sets nothing;
- `no-time`: cannot be predicted, for the reason in its note.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.gpu.curves import DEFAULT, Curves
from sim.gpu.devices import make_device
from sim.gpu.libraries import library_launches
from sim.gpu.libraries.attention import Attention
from sim.gpu.model import Prediction, predict
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).parents[1] / "data" / "gpu" / "published.tsv"
ROLES = ("curve", "check", "no-time")
COLUMNS = (
    "id", "role", "device", "kernel", "launched", "shape", "dtype", "measured", "unit", "source",
    "note",
)  # fmt: skip
_UNITS = {"us": 1e3, "ms": 1e6}


@dataclass(frozen=True)
class Measurement:
    """One published number."""

    id: str
    role: str
    device: str
    kernel: str
    launched: str
    """graph, stream, or eager: from PyTorch, operator by operator"""
    shape: dict[str, Any]
    dtype: str
    measured: float
    unit: str
    """us, ms, tf (1e12 operations a second, as the source counts them) or gbps"""
    source: str
    note: str

    @property
    def ns(self) -> float:
        """The measured time."""
        if self.unit in _UNITS:
            return self.measured * _UNITS[self.unit]
        if self.unit == "tf":
            return nominal_flops(self.kernel, self.shape) / self.measured * 1e-3
        raise InputError(f"row {self.id} must have a unit that gives a time, not {self.unit!r}")


def nominal_flops(kernel: str, shape: dict[str, Any]) -> float:
    """Return the operations that a published rate of a kernel counts."""
    if {"m", "n", "k"} <= set(shape):
        return 2.0 * shape["m"] * shape["n"] * shape["k"]
    if kernel == "mla-sparse-decode":
        chosen = shape["batch"] * shape["queries"] * shape["heads"] * shape["chosen"]
        return 2.0 * chosen * (576 + 512)
    flops = Attention(**shape).nominal_flops
    return 3.5 * flops if kernel == "flash2-training" else flops


@cache
def read_published(path: Path = TABLE) -> tuple[Measurement, ...]:
    """Read the table.

    Raises:
        InputError: a column, a role or a number that is not as it must be, with the line.
    """
    lines = path.read_text("utf-8").splitlines()
    if tuple(lines[0].split("\t")) != COLUMNS:
        raise InputError(f"{path.name} must have the columns {', '.join(COLUMNS)}")
    return tuple(_measurement(line, f"{path.name}:{at}") for at, line in enumerate(lines[1:], 2))


def _measurement(line: str, where: str) -> Measurement:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise InputError(f"{where} must have {len(COLUMNS)} fields, it has {len(fields)}")
    found = dict(zip(COLUMNS, fields, strict=True))
    if found["role"] not in ROLES:
        raise InputError(f"{where}: role must be one of {', '.join(ROLES)}, not {found['role']!r}")
    if found["role"] == "no-time" and not found["note"]:
        raise InputError(f"{where}: note must say why there is no prediction, it is empty")
    shape = {
        name: _number(value, where)
        for name, _, value in (pair.partition("=") for pair in found["shape"].split())
    }
    measured = _number(found["measured"], where)
    return Measurement(**{**found, "shape": shape, "measured": measured})  # type: ignore[arg-type]


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: value must be a number, not {text!r}") from None
    return int(value) if value.is_integer() else value


def predict_row(row: Measurement, curves: Curves = DEFAULT) -> Prediction:
    """Return the modelled time of what a row measures."""
    device = make_device(row.device)
    return predict(
        library_launches(row.kernel, row.shape, device),
        device,
        graph=row.launched == "graph",
        host_ns=curves.dispatch_ns if row.launched == "eager" else 0.0,
        curves=curves,
    )
