"""What SpAtten computes for one head, bit by bit: its blocks' golden functions, composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.blocks.dotprod import prob_value_golden, query_key_golden
from sim.blocks.requant import requant_golden
from sim.blocks.softmax import exponent_multiplier, softmax_golden
from sim.blocks.topk import topk_golden

if TYPE_CHECKING:
    from sim.machines.spatten import SpAtten

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class GoldenHead:
    """Integers that leave the machine, and its decisions on the way."""

    output: IntArray  # (queries, head_dim) sums of probability times value
    probabilities: IntArray  # (queries, keys) after recomputation
    recomputed: BoolArray  # (queries,)
    kept: BoolArray  # (queries, keys) value rows that the query uses


def golden_head(
    machine: SpAtten,
    query: IntArray,
    key: IntArray,
    value: IntArray,
    *,
    score_scale: float,
    lsb_bits: int,
    threshold: int,
    values_kept: int,
) -> GoldenHead:
    """Compute one head in integers.

    Args:
        machine: the configuration.
        query, key, value: (queries, dim), (keys, dim), (keys, dim) signed codes on chip.
        score_scale: real value of one score step: the scales of Q and K over sqrt(dim).
        lsb_bits: low bits of K that are fetched only on demand; 0: none.
        threshold: a row whose largest probability is below is recomputed with all bits of K.
        values_kept: V rows that each query uses.
    """
    multiplier = exponent_multiplier(score_scale)
    key = np.asarray(key, np.int64)
    first_plane = (key >> lsb_bits) << lsb_bits
    probabilities = softmax_golden(
        machine.softmax, query_key_golden(query, first_plane), multiplier
    )
    recomputed = requant_golden(probabilities, threshold) & (lsb_bits > 0)
    if recomputed.any():
        again = query_key_golden(np.asarray(query)[recomputed], key)
        probabilities[recomputed] = softmax_golden(machine.softmax, again, multiplier)
    kept = np.zeros(probabilities.shape, np.bool_)
    for row, row_probabilities in enumerate(probabilities):
        kept[row, topk_golden(machine.value_topk, row_probabilities, values_kept)] = True
    output = prob_value_golden(np.where(kept, probabilities, 0), value)
    return GoldenHead(output, probabilities, recomputed, kept)
