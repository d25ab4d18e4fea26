"""From the rows of a workload to the requests of the released test bench.

mit-han-lab/spatten, sim/TestSpAtten.scala: one row, a query of a head, is one request. Widths
without a profile become 8 bit; K is then computed from 8 + 4 bits, always twice. Rows of 6 bit come
in pairs of heads that share one fetch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.machines.spatten_rtl import layout
from sim.machines.spatten_rtl.layout import Ints, Sizes
from sim.machines.spatten_rtl.topk_latency import topk_latency_cycles
from workloads.errors import InputError

HEAD_DIM = 64
TRANSACTION_BITS = 256
LSB_BITS = 4
FUSED_BITS = 6
WIDENED_BITS = (10, 12)  # run as 8 + 4 bits of K, 8 of V
PROFILE_BITS = (4, 6, 8)  # of the fetcher; 6 only for two heads at once

KEY_BASE, LSB_BASE, VALUE_BASE, BASE_STEP = 0xAB10000, 0xAB20000, 0xCD10000, 0x10000
"""Addresses of request 0, and their distance from request to request."""


@dataclass(frozen=True)
class Rows:
    """What is asked for, in order; all arrays are (row,)."""

    keys: Ints
    values: Ints
    key_bits: Ints
    value_bits: Ints
    needs_lsbs: NDArray[np.bool_]
    names: list[str]  # where each row comes from, for messages


def sizes_of(lines: int, multipliers: int, downsample: int) -> Sizes:
    """Return the machine's sizes, as the authors' script derives them from its arguments."""
    rows_per_line = multipliers // HEAD_DIM
    lanes = max(32 // downsample, rows_per_line)
    channels = 16 // downsample
    push_bits = TRANSACTION_BITS * lanes
    pop_bits = [_pop_bits(multipliers, bits) for bits in PROFILE_BITS]
    granule = math.gcd(push_bits, *pop_bits)
    push, pop = push_bits // granule, max(pop_bits) // granule
    return Sizes(
        lanes=lanes,
        channels=channels,
        channel_bits=channels.bit_length() - 1,
        lines=lines,
        rows_per_line=rows_per_line,
        tree_layers=rows_per_line.bit_length() - 1,
        granule_bits=granule,
        push_granules=push,
        capacity_granules=2 * max(push, pop),
        queue_depth=lanes // rows_per_line * 2 * 8,
    )


def request_table(
    rows: Rows, sizes: Sizes, multipliers: int, topk_lanes: int, row_multiple: int
) -> Ints:
    """Return (request, 26), columns of `layout`.

    Args:
        rows: what is asked for.
        sizes: from `sizes_of`.
        multipliers: of one array.
        topk_lanes: elements that a top-k pass compares in a cycle, for its latency.
        row_multiple: what K and V counts are rounded up to.

    Raises:
        InputError: a row that the release cannot run: it stops on an assertion, or hangs.
    """
    _check_widths(rows)
    widened = np.isin(rows.key_bits, WIDENED_BITS)
    key_bits = np.where(widened, 8, rows.key_bits)
    value_bits = np.where(np.isin(rows.value_bits, WIDENED_BITS), 8, rows.value_bits)
    keys = -(-rows.keys // row_multiple) * row_multiple
    values = -(-rows.values // row_multiple) * row_multiple
    key_fused, value_fused = _fused(key_bits), _fused(value_bits)
    key_part = _pair_part(rows, key_bits, keys, "quant_key_bit", "key_fetch_num")
    _pair_part(rows, value_bits, values, "quant_value_bit", "value_fetch_num")
    _check_counts(rows, sizes, "key_fetch_num", keys, key_fused)
    _check_counts(rows, sizes, "value_fetch_num", values, value_fused)
    last = (key_fused == 1) | (key_part == 1)
    batch = np.concatenate([[0], np.cumsum(last)[:-1]])
    number = np.arange(len(keys))
    table = np.zeros((len(keys), layout.REQUEST_COLUMNS), np.int64)
    table[:, layout.KEYS], table[:, layout.VALUES] = keys, values
    table[:, layout.KEY_LINES] = _even_lines(keys, sizes)
    table[:, layout.VALUE_LINES] = _even_lines(values, sizes)
    table[:, layout.KEY_FUSED], table[:, layout.VALUE_FUSED] = key_fused, value_fused
    table[:, layout.RECOMPUTE] = rows.needs_lsbs | widened
    table[:, layout.PART], table[:, layout.LAST], table[:, layout.BATCH] = key_part, last, batch
    table[:, layout.TOPK_CYCLES] = _topk_cycles(rows, key_part, topk_lanes)
    planes = (
        (0, KEY_BASE, keys, key_bits, key_fused),
        (1, LSB_BASE, keys, np.full_like(keys, LSB_BITS), np.ones_like(keys)),
        (2, VALUE_BASE, values, value_bits, value_fused),
    )
    for kind, base, count, bits, fused in planes:
        row_bits = HEAD_DIM * bits * fused
        table[:, layout.KEY_BASE + kind] = base + BASE_STEP * number
        table[:, layout.KEY_BYTES + kind] = row_bits // 8
        table[:, layout.KEY_PARTS + kind] = row_bits // TRANSACTION_BITS
        table[:, layout.KEY_POP + kind] = _pop_bits(multipliers, bits) // sizes.granule_bits
        table[:, layout.KEY_GRANULES + kind] = count * row_bits // sizes.granule_bits
    return table


def _pop_bits(multipliers: int, bits: Any) -> Any:
    """Bits of a pair of lines as they lie in memory."""
    return 2 * multipliers * bits


def _fused(bits: Ints) -> Ints:
    return np.where(bits == FUSED_BITS, 2, 1)


def _even_lines(count: Ints, sizes: Sizes) -> Ints:
    lines: Ints = -(-count // sizes.rows_per_line)
    return -(-lines // 2) * 2


def _check_widths(rows: Rows) -> None:
    requirement = "-1, 6, 8, 10 or 12, the widths that the released fetcher has a profile for"
    for name, bits in (("quant_key_bit", rows.key_bits), ("quant_value_bit", rows.value_bits)):
        _reject(rows, ~np.isin(bits, (FUSED_BITS, 8, *WIDENED_BITS)), name, requirement, bits)


def _pair_part(rows: Rows, bits: Ints, counts: Ints, width_name: str, count_name: str) -> Ints:
    """Return (row,) the place in a pair of 6-bit rows; 0 for all others."""
    part = np.zeros(len(bits), np.int64)
    for row in np.flatnonzero(bits == FUSED_BITS).tolist():
        first = row == 0 or bits[row - 1] != FUSED_BITS or part[row - 1] == 1
        part[row] = 0 if first else 1
        if first and (row + 1 == len(bits) or bits[row + 1] != FUSED_BITS):
            raise InputError(
                f"{rows.names[row]}: {width_name} must be 6 in the row after it too, "
                "6-bit heads are fetched in pairs"
            )
        if not first and counts[row] != counts[row - 1]:
            raise InputError(
                f"{rows.names[row]}: {count_name} must be {counts[row - 1]} after rounding, as in "
                f"the row it is paired with, not {counts[row]}"
            )
    return part


def _check_counts(rows: Rows, sizes: Sizes, name: str, counts: Ints, fused: Ints) -> None:
    _reject(rows, counts < 1, name, "at least 1", counts)
    multiple = math.lcm(sizes.lanes, 2 * sizes.rows_per_line)
    requirement = (
        f"a multiple of {multiple} after rounding, of the {sizes.lanes} fetch lanes and of the "
        f"{2 * sizes.rows_per_line} rows of two buffer lines (the release hangs otherwise)"
    )
    _reject(rows, counts % multiple != 0, name, requirement, counts)
    for heads in (1, 2):
        most = sizes.lines * sizes.rows_per_line // heads
        requirement = f"at most {most}, what the buffer holds of {heads} heads"
        _reject(rows, (fused == heads) & (counts > most), name, requirement, counts)


def _reject(rows: Rows, wrong: Any, name: str, requirement: str, found: Ints) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(f"{rows.names[at]}: {name} must be {requirement}, not {found[at]}")


def _topk_cycles(rows: Rows, part: Ints, lanes: int) -> Ints:
    """Latencies in the order of the rows; the second row of a pair draws none."""
    draws = part == 0
    cycles = np.zeros(len(part), np.int64)
    cycles[draws] = topk_latency_cycles(rows.keys[draws], rows.values[draws], lanes)
    return cycles
