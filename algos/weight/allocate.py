"""Unequal shares of weights for layers or matrices that together keep the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workloads.errors import InputError

HALVINGS = 60  # of an interval: far below float32's precision
MARGIN = 1e-6  # of a budget that shares may miss


def meet_budget(
    ratios_at: Callable[[float], Sequence[float]],
    sizes: Sequence[int],
    keep_ratio: float,
    low: float,
    high: float,
) -> list[float]:
    """Return the shares of the parameter at which all together keep a share of the weights.

    Args:
        ratios_at: parameter -> share kept of each part; none falls as the parameter grows.
        sizes: weights of each part.
        keep_ratio: share kept of all.
        low: parameter at which no more than the budget is kept.
        high: parameter at which no less is kept.

    Raises:
        InputError: no parameter between them keeps the budget.
    """
    total = sum(sizes)

    def kept(at: float) -> float:
        return sum(r * n for r, n in zip(ratios_at(at), sizes, strict=True)) / total

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) < keep_ratio else (low, middle)
    if abs(kept(high) - keep_ratio) > MARGIN:
        raise InputError(
            f"keep_ratio must be within reach of the layers' shares, {kept(high):.4g} is the "
            f"nearest to {keep_ratio:g}"
        )
    return list(ratios_at(high))


def clip(ratio: float, low: float, high: float = 1.0) -> float:
    """Return the ratio, or the end of the range that it is beyond."""
    return min(max(ratio, low), high)
