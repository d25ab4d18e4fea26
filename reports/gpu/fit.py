"""Find the curves of the GPU cost model from the rows whose role is `curve`, and cross-validate.

Every parameter starts from a round number that nothing was fitted to (`PRIOR`) and is drawn to it
with a small weight, so that one that no row sets stays there. The sum of squared logarithms of
modelled over measured is made least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from reports.gpu.published import Measurement, read_published
from sim.gpu.curves import SET_BY, Curves
from sim.gpu.devices import Device, make_device
from sim.gpu.libraries import library_launches
from sim.gpu.model import predict
from workloads.gpu_launch import Launch

FloatArray = NDArray[np.float64]

PRIOR = Curves(
    dram_hbm3=0.9,
    dram_gddr6=0.9,
    dram_gddr5x=0.9,
    tensor_library=0.9,
    tensor_flash2=0.9,
    tensor_flash3=0.9,
    tensor_triton=0.7,
    tensor_triton_hopper=0.7,
    tensor_sparse=0.9,
    fp32_library=0.9,
    sustained_fp16=0.75,
    sustained_int8=0.75,
    exposed=0.5,
    start_latencies=4.0,
    overlap=4.0,
    dispatch_ns=10_000.0,
)
"""Guesses: 0.9 of what streams, 0.75 under a power limit, half of the shorter pipes hidden."""

_PULL = 0.003  # weight of the prior, beside 1 of a row: a row 10 % off moves what it can by 3 %
_NAMES = tuple(field.name for field in fields(Curves))
_IS_SHARE = np.array([name not in ("start_latencies", "overlap", "dispatch_ns") for name in _NAMES])
"""shares are at most 1"""
_ITERATIONS = 100
_NUDGE = 1e-4


@dataclass(frozen=True)
class Row:
    """A row with its launches, which do not depend on the curves."""

    measurement: Measurement
    launches: tuple[Launch, ...]
    device: Device

    def deviation(self, curves: Curves) -> float:
        """Return predicted over measured, less 1."""
        row = self.measurement
        found = predict(
            self.launches,
            self.device,
            row.launched == "graph",
            host_ns=curves.dispatch_ns if row.launched == "eager" else 0.0,
            curves=curves,
        )
        return found.ns / row.ns - 1


def prepare(rows: Iterable[Measurement]) -> list[Row]:
    """Return rows with their launches; those that cannot be predicted are left out."""
    found = []
    for row in rows:
        if row.role != "no-time":
            device = make_device(row.device)
            found.append(Row(row, tuple(library_launches(row.kernel, row.shape, device)), device))
    return found


def fit(rows: Sequence[Row], start: Curves = PRIOR) -> Curves:
    """Return the curves that deviate least from rows; what they do not set stays as in `start`.

    Levenberg and Marquardt's method, on logarithms of the parameters.
    """
    prior = _logarithms(start)
    best, damping = prior.copy(), 1e-2
    missed = _residuals(best, rows, prior)
    for _ in range(_ITERATIONS):
        slopes = np.empty((len(missed), len(best)))
        for place in range(len(best)):
            moved = best.copy()
            moved[place] -= _NUDGE  # downwards: shares end at 1
            slopes[:, place] = (missed - _residuals(moved, rows, prior)) / _NUDGE
        square = slopes.T @ slopes
        step = np.linalg.solve(square + damping * np.diag(np.diag(square)), -slopes.T @ missed)
        tried = np.where(_IS_SHARE, np.minimum(best + step, 0.0), best + step)
        found = _residuals(tried, rows, prior)
        gained = missed @ missed - found @ found
        if gained > 0:
            best, missed, damping = tried, found, damping / 3
            if gained < 1e-7:
                break
        else:
            damping *= 4
        if damping > 1e8:  # no step of any length helps
            break
    return _curves(best)


def _logarithms(curves: Curves) -> FloatArray:
    return np.log([getattr(curves, name) for name in _NAMES])


def _curves(logarithms: FloatArray) -> Curves:
    return Curves(**dict(zip(_NAMES, np.exp(logarithms).tolist(), strict=True)))


def _residuals(logarithms: FloatArray, rows: Sequence[Row], prior: FloatArray) -> FloatArray:
    """Return the logarithms that rows deviate by, and what pulls parameters to the prior."""
    curves = _curves(logarithms)
    missed = [math.log1p(row.deviation(curves)) for row in rows]
    return np.concatenate([missed, math.sqrt(_PULL) * (logarithms - prior)])


def set_by(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows that set a parameter."""
    names = {name for set_ in SET_BY.values() for name in set_}
    return [row for row in rows if row.id in names]


def cross_validate(folds: int = 3) -> list[Fold]:
    """Fit without each part of the rows that set curves, and judge what is then held out.

    Row i belongs to part i modulo `folds`, in the order of the table.
    """
    rows = read_published()
    setting = prepare(set_by(rows))
    judging = prepare(row for row in rows if row.role == "check")
    found = []
    for part in range(folds):
        dropped = setting[part::folds]
        kept = [row for place, row in enumerate(setting) if place % folds != part]
        curves = fit(kept)
        found.append(
            Fold(
                part=part,
                curves=curves,
                dropped={row.measurement.id: row.deviation(curves) for row in dropped},
                checks={row.measurement.id: row.deviation(curves) for row in judging},
            )
        )
    return found


@dataclass(frozen=True)
class Fold:
    """What a fit without some rows predicts."""

    part: int
    curves: Curves
    dropped: dict[str, float]
    """row that set a curve, and was left out of this fit -> deviation"""
    checks: dict[str, float]
    """row of role `check` -> deviation"""
