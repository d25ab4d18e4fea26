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
OUTLIER = 0.35
"""a row that deviates by more is listed with its reason"""
OUTLIERS = {
    "D16": "Pages of 8 tokens: without TMA, one warpgroup of FlashAttention-3 must compute an "
    "address for every 16 bytes; the model counts latencies and bytes only.",
    "G32": "252 of 624 sparse Tflop/s, where row G31 reaches 484 at 16384: probably the library's "
    "default algorithm; the model takes the best tile.",
    "E3": "Probably atomics of a histogram in shared memory that collide, as values of one "
    "distribution share their first eight bits; the model has no conflicts.",
    "X12": "The search is modelled as the paper describes it; stages, block sizes and the number "
    "of chosen keys of the measured program are not published with the row.",
    "X19": "Every gathered value is taken to move its own sector through the L2 cache; the L1 "
    "cache, which the model does not have, serves some of them.",
}
"""Reason, as far as it is known, of each row of role `check` beyond `OUTLIER`."""
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


def published_table(curves: Curves = DEFAULT) -> pd.DataFrame:
    """Return every row of the table beside its prediction.

    Columns: those of the table, then `measured_ns`, `modelled_ns` (both none for a row without a
    time), `deviation` (modelled over measured, less 1), `binding`, `launches`, and `reason`: why
    the row is an outlier, or has no prediction.
    """
    import pandas as pd

    rows = []
    for row in read_published():
        shape = " ".join(f"{name}={value}" for name, value in row.shape.items())
        rows.append({name: getattr(row, name) for name in COLUMNS} | {"shape": shape})
        if row.role == "no-time":
            rows[-1]["reason"] = row.note
            continue
        found = predict_row(row, curves)
        rows[-1] |= {
            "measured_ns": row.ns,
            "modelled_ns": found.ns,
            "deviation": found.ns / row.ns - 1,
            "binding": found.binding,
            "launches": len(found.launches),
            "reason": OUTLIERS.get(row.id, ""),
        }
    return pd.DataFrame(rows).astype({"launches": "Int64"})


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Return how far predictions are from the rows that set no curve, and which rows set one."""
    checks = table[table["role"] == "check"]
    off = checks["deviation"].abs()
    return {
        "rows": len(table),
        "without_time": table.loc[table["role"] == "no-time", "id"].tolist(),
        "curve_rows": table.loc[table["role"] == "curve", "id"].tolist(),
        "check_rows": len(checks),
        "median_deviation": float(off.median()),
        "ninth_decile_deviation": float(off.quantile(0.9)),
        "within_15_percent": float((off <= 0.15).mean()),
        "within_35_percent": float((off <= OUTLIER).mean()),
        "outliers": checks.loc[off > OUTLIER, "id"].tolist(),
    }


def summary_text(table: pd.DataFrame) -> str:
    """Return the summary in words, each outlier with its reason."""
    found = summary(table)
    by_id = table.set_index("id")
    lines = [
        f"{found['rows']} published measurements; {len(found['curve_rows'])} set a curve or an "
        f"estimate ({', '.join(found['curve_rows'])}); {len(found['without_time'])} have no "
        f"prediction ({', '.join(found['without_time'])}).",
        f"On the other {found['check_rows']}: median deviation {found['median_deviation']:.1%}, "
        f"nine of ten under {found['ninth_decile_deviation']:.1%}; "
        f"{found['within_15_percent']:.0%} within 15 %, {found['within_35_percent']:.0%} within "
        "35 %.",
    ]
    lines += [
        f"{name} ({by_id.at[name, 'kernel']}, {by_id.at[name, 'device']}): "
        f"{by_id.at[name, 'deviation']:+.0%}. {by_id.at[name, 'reason']}"
        for name in found["outliers"]
    ]
    return "\n".join(lines)


def write_published(folder: Path) -> pd.DataFrame:
    """Write `published.csv`, `published.png` and `published.svg` into a folder, made if missing.

    Returns:
        The table.
    """
    from reports.figures.style import save
    from reports.gpu.published_figure import draw_published

    table = published_table()
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "published.csv", index=False, lineterminator="\n")
    figure = draw_published(table)
    for kind in ("png", "svg"):
        save(figure, folder / f"published.{kind}")
    return table
