"""What SpAtten's paper and its authors' programs do differently, as options.

The paper's reading is the default of each; where it is silent, the field says what decides.
`sim.machines.differences` lists all of them by number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from sim.once import once
from sim.operations import Operations
from workloads.config import Config

IntArray = np.ndarray[Any, np.dtype[np.int64]]

_CONVERTER_BITS = 8  # widest first plane of the released RTL
_RELEASED_LSB_BITS = 4  # its only LSB plane


class FlowConfig(Config):
    """What waits for what."""

    cascade_topk: Literal["parallel", "serial", "hidden"] = "parallel"
    """token and head selection. parallel: tokens are selected from a layer's last probabilities
    on, beside the rest of the layer, heads after its last output; the next layer waits for both
    (paper: in parallel with the critical path). serial: both after the last output, as the
    authors' C++ model adds them. hidden: no time, as in the released RTL"""
    layers_wait: bool = True
    """true: the heads of a layer wait for the outputs of the layer before, from which their
    operands are made. false: heads of all layers follow each other as in the released RTL's test
    bench, a layer waits for its selections only. The paper is silent"""
    prefetch_keys: bool = True
    """true: K of the next heads is fetched as far as the buffer has room (paper: fully
    pipelined). false: only after the last product of the head before (released RTL)"""
    hold_keys: bool = False
    """true: every head holds its K rows until its last row is decided (released RTL). false:
    only heads that may need LSBs do, others until their last product"""
    generation_sram: bool = False
    """true: a generated token's K and V pass through the SRAMs (released RTL). false: they go
    from the FIFOs to the multipliers (paper); K with an LSB plane is stored in any case, since
    its MSBs are needed again"""
    reset_cycles: int = Field(0, ge=0)
    """cycles before the first request (released RTL: 16 of reset, then half as many as a buffer
    has lines)"""


class PrecisionConfig(Config):
    """How operands of several precisions are fetched."""

    lsb_tensors: Literal["K", "QK", "QKV"] = "QK"
    """operands whose LSBs are fetched for a recomputation: those of the scores (paper: inputs
    are fetched again and the probabilities recomputed), K alone (released traces and RTL), or V
    too. Q and V have an LSB plane only where the trace stores them in less than the on-chip
    width"""
    wide_operands: Literal["direct", "8+4"] = "direct"
    """operands of more than 8 bits. direct: fetched whole (paper: the converter takes 12 bits).
    8+4: K as 8 bits, then 4 more and every query again; V as 8 bits (released RTL)"""


@once(kept=8)
def adapt(
    operations: Operations, precision: PrecisionConfig, prune_queries: bool, width_bits: int
) -> Operations:
    """Return the heads as the options have them run."""
    ops = operations
    k_bits, v_bits, k_lsb_bits, recomputed = ops.k_bits, ops.v_bits, ops.k_lsb_bits, ops.recomputed
    queries = ops.queries if prune_queries else ops.queries_dense
    if precision.wide_operands == "8+4":
        wide = k_bits > _CONVERTER_BITS
        k_bits = np.where(wide, _CONVERTER_BITS, k_bits)
        k_lsb_bits = np.where(wide, _RELEASED_LSB_BITS, k_lsb_bits)
        recomputed = np.where(wide, queries, recomputed)
        v_bits = np.minimum(v_bits, _CONVERTER_BITS)
    return replace(
        ops,
        queries=queries,
        recomputed=recomputed,
        k_bits=k_bits,
        v_bits=v_bits,
        k_lsb_bits=k_lsb_bits,
        q_lsb_bits=_missing("Q", precision, ops.q_bits, k_lsb_bits, width_bits),
        v_lsb_bits=_missing("V", precision, v_bits, k_lsb_bits, width_bits),
    )


def _missing(
    tensor: str, precision: PrecisionConfig, bits: IntArray, lsb_bits: IntArray, width_bits: int
) -> IntArray:
    """Return the bits of an operand's LSB plane: as many as K's, up to the on-chip width."""
    wanted = lsb_bits if tensor in precision.lsb_tensors else 0
    missing: IntArray = np.minimum(wanted, np.maximum(width_bits - bits, 0))
    return missing
