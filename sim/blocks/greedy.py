"""A3's approximate attention: greedy candidate search, then selection by score.

Ham et al., A3, HPCA 2020, arXiv:2002.10941. Every column of K is sorted ahead of time. For a query,
the search visits products of a query channel with a key element from both ends of their order over
all channels: each iteration adds the largest product left to its key's greedy score if it is
positive, and the smallest one if it is negative. Keys with a positive greedy score are candidates;
their exact scores are computed, and those far below the best one are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Approximation:
    """How far A3 goes: iterations as a share of the keys, and what is kept of the candidates."""

    iteration_ratio: float  # search iterations per key (paper: M = n/2 or n/8)
    keep_share: float  # of the largest weight: a candidate with less is dropped (paper: T)


CONSERVATIVE = Approximation(iteration_ratio=1 / 2, keep_share=0.05)
AGGRESSIVE = Approximation(iteration_ratio=1 / 8, keep_share=0.10)


def candidates(query: FloatArray, keys: FloatArray, iterations: int) -> NDArray[np.bool_]:
    """Return (keys,) true for the keys that the greedy search finds.

    Args:
        query: (dim,).
        keys: (keys, dim).
        iterations: products taken from each end.

    Raises:
        InputError: a NaN in query or keys.
    """
    if np.isnan(query).any() or np.isnan(keys).any():
        raise InputError("queries and keys of the greedy search must be numbers, one is NaN")
    products = keys * query
    owner = np.repeat(np.arange(len(keys)), keys.shape[1])
    flat = products.ravel()
    order = np.argsort(flat, kind="stable")
    greedy = np.zeros(len(keys))
    largest, smallest = order[::-1][:iterations], order[:iterations]
    largest, smallest = largest[flat[largest] > 0], smallest[flat[smallest] < 0]
    np.add.at(greedy, owner[largest], flat[largest])
    np.add.at(greedy, owner[smallest], flat[smallest])
    found: NDArray[np.bool_] = greedy > 0
    return found


def survivors(scores: FloatArray, found: NDArray[np.bool_], keep_share: float) -> Any:
    """Return (keys,) true for the candidates whose weight is at least a share of the largest.

    Args:
        scores: (keys,) exact scores as they enter the softmax.
        found: (keys,) the candidates.
        keep_share: 0.05 keeps weights of at least 5 % of the largest one.
    """
    if not found.any():
        return found
    best = scores[found].max()
    return found & (scores >= best + np.log(keep_share))


def measured_ratios(
    queries: FloatArray, keys: FloatArray, approximation: Approximation
) -> tuple[float, float]:
    """Return the shares of candidates and of survivors among the keys, mean over queries.

    Args:
        queries: (queries, dim), scaled so that scores enter the softmax as they are.
        keys: (keys, dim).
        approximation: how far to go.
    """
    iterations = max(1, round(approximation.iteration_ratio * len(keys)))
    chosen = kept = 0
    for query in queries:
        found = candidates(query, keys, iterations)
        chosen += int(found.sum())
        kept += int(survivors(keys @ query, found, approximation.keep_share).sum())
    total = len(queries) * len(keys)
    return chosen / total, kept / total
