"""A kernel against its naive twin, on whatever device runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algos.kernels.base import Kernel
from algos.kernels.launch import run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Numerics:
    """What the comparison found."""

    error: float
    """the largest of all shapes, results and rows"""
    broken: str = ""
    """the first result that is out of tolerance, in a sentence"""


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return the largest error of a row, which is the last axis; NaN where one is found.

    Of a row: the norm of the difference over that of what is wanted. Rows count alike, for those
    that mix many keys are smaller than those that mix few.
    """
    error = (found.double() - wanted.double()).norm(dim=-1)
    return float((error / wanted.double().norm(dim=-1).clamp_min(1e-30)).max())


def compare(kernel: Kernel, shape: Any, device: str, seed: int = 1) -> Numerics:
    """Run a kernel and its naive twin on the same operands."""
    inputs = kernel.inputs(shape, seed, device)
    found, wanted = run(kernel, shape, inputs), kernel.naive(shape, inputs)
    worst = 0.0
    if set(wanted) != set(kernel.results):
        return Numerics(worst, f"{kernel.name}: its twin must return {', '.join(kernel.results)}")
    for result in kernel.results:
        if found[result].shape != wanted[result].shape:
            sizes = f"{tuple(wanted[result].shape)}, not {tuple(found[result].shape)}"
            return Numerics(worst, f"{kernel.name}: {result} must be of size {sizes}")
        error = relative_error(found[result], wanted[result])
        if not error <= kernel.tolerance:  # a NaN is out of tolerance too
            limit = f"{result} must be within {kernel.tolerance:g} of its naive twin"
            return Numerics(error, f"{kernel.name}: {limit}, its error is {error:g} at {shape}")
        worst = max(worst, error)
    return Numerics(worst)


def check(kernel: Kernel, device: str) -> Numerics:
    """Compare at all test shapes and at the paper shape of least work."""
    smallest = min(kernel.papers.values(), key=lambda shape: kernel.count(shape).flops)
    worst = 0.0
    for shape in (*kernel.tests.values(), smallest):
        one = compare(kernel, shape, device)
        if one.broken:
            return one
        worst = max(worst, one.error)
    return Numerics(worst)
