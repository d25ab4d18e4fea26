"""What a trace asks for, counted from its rows: useful operations and bytes by technique."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.operations import KINDS, VALUE_GENERATION, VALUE_PREFILL, lower, plane_bytes
from workloads.trace import Trace

BASELINE_BITS = 32
"""What a GPU fetches: the paper's reductions are against it (5.1 x by quantisation is 32 bit over
6.3 bit)."""


def useful_operations(trace: Trace) -> int:
    """Return 2 x multiplications of the pruned attention, each query computed once."""
    ops = lower(trace, KINDS, 12)
    return int(2 * (ops.queries * (ops.keys + ops.values) * ops.head_dim).sum())


def dense_operations(trace: Trace) -> int:
    """Return 2 x multiplications of the same attention with nothing pruned."""
    ops = lower(trace, (), 12)
    return int(2 * (ops.queries * (ops.keys + ops.values) * ops.head_dim).sum())


@dataclass(frozen=True)
class Reduction:
    """By how much each technique alone divides the DRAM bytes that the ones before it left."""

    tokens_and_values: float
    heads: float
    quantisation: float
    operations: float

    @property
    def bytes(self) -> float:
        """All techniques together."""
        return self.tokens_and_values * self.heads * self.quantisation


def reduction(trace: Trace) -> Reduction:
    """Return the reductions of K and V bytes, and of operations.

    Pruning is counted at equal width, head pruning first; quantisation then from `BASELINE_BITS`,
    its LSBs fetched again included.
    """
    pruning = ("token", VALUE_PREFILL, VALUE_GENERATION)
    dense = _elements(trace, ())
    heads = _elements(trace, ("head",))
    pruned = _elements(trace, ("head", *pruning))
    return Reduction(
        tokens_and_values=heads / pruned,
        heads=dense / heads,
        quantisation=pruned * BASELINE_BITS / 8 / _bytes(trace),
        operations=dense_operations(trace) / useful_operations(trace),
    )


def _elements(trace: Trace, exploits: tuple[str, ...]) -> int:
    ops = lower(trace, exploits, 12)
    return int(((ops.keys + ops.values_fetched) * ops.head_dim).sum())


def _bytes(trace: Trace) -> int:
    ops = lower(trace, KINDS, 12)
    again = np.where(ops.recomputed > 0, ops.keys, 0)
    planes = (
        (ops.keys, ops.k_bits),
        (again, ops.k_lsb_bits),
        (ops.values_fetched, ops.v_bits),
    )
    return sum(int(plane_bytes(rows, ops.head_dim, bits).sum()) for rows, bits in planes)
