"""Matrix fetcher: turns rows of a bit plane into DRAM transactions and aligns the answers.

SpAtten (HPCA 2021), modules 3 to 6: MSB and LSB planes lie in separate regions; row addresses
go through a crossbar to the channels, the answers come back through another, and a bit-width
converter widens 4-, 8- or 12-bit data to the 12 bits used on chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from pydantic import Field, field_validator

from workloads.config import Config
from workloads.errors import InputError

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class FetchConfig(Config):
    """Latencies around the memory and the widths it may store."""

    request_latency_cycles: int = Field(9, ge=0)
    """head accepted to first request (released RTL, waveform: 9)"""
    response_latency_cycles: int = Field(10, ge=0)
    """fetched line to multiplier input, through converter and SRAM (released RTL, waveform: 10)"""
    stored_bits: tuple[int, ...] = (4, 8, 12)
    """widths the bit-width converter takes (paper: 4, 8, 12; released RTL: 4, 6, 8); others are
    stored in the next larger one"""

    @field_validator("stored_bits", mode="before")
    @classmethod
    def _split(cls, widths: Any) -> Any:
        """Take `4,8,12` too, as the shell gives it."""
        return widths.split(",") if isinstance(widths, str) else widths

    @field_validator("stored_bits")
    @classmethod
    def _are_widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or min(widths) < 1:
            raise ValueError(f"Fetch stored_bits must be 1 or more widths above 0, not {widths}")
        return widths

    def stored_width(self, bits: int) -> int:
        """Return the width that `bits` occupy in DRAM; 0 stays 0.

        Raises:
            InputError: wider than the widest stored width.
        """
        if bits == 0:
            return 0
        for width in sorted(self.stored_bits):
            if width >= bits:
                return width
        raise InputError(f"bits must be at most {max(self.stored_bits)}, not {bits}")


def plane_transactions(
    base: int, row_bits: int, rows: IntArray, transaction_bytes: int
) -> tuple[IntArray, IntArray]:
    """Return the DRAM transactions that hold some rows of a packed bit plane.

    Args:
        base: first transaction of the plane.
        row_bits: bits of one row; rows are packed without gaps.
        rows: (n,) ascending row numbers.
        transaction_bytes: bytes of one transaction.

    Returns:
        Distinct transactions in order, and for each row (n,) the position of its last one.
    """
    return _plane_transactions(base, row_bits, rows, transaction_bytes * 8)  # type: ignore[no-any-return]


def plane_size(row_bits: int, rows: int, transaction_bytes: int) -> int:
    """Return the transactions that a whole plane occupies."""
    return -(-row_bits * rows // (transaction_bytes * 8))


def chunk_ready(completion: IntArray, last: IntArray, rows_per_chunk: int) -> IntArray:
    """Return the cycle at which each group of rows is complete, groups in row order.

    Args:
        completion: (transactions,) completion cycle of each.
        last: (rows,) position of each row's last transaction.
        rows_per_chunk: rows used together in one cycle.
    """
    return _chunk_ready(completion, last, rows_per_chunk)  # type: ignore[no-any-return]


@njit(cache=True)
def _plane_transactions(base: int, row_bits: int, rows: Any, transaction_bits: int) -> Any:
    most = (row_bits // transaction_bits + 2) * len(rows)
    transactions = np.empty(most, np.int64)
    last = np.empty(len(rows), np.int64)
    count = 0
    for i in range(len(rows)):
        start = rows[i] * row_bits // transaction_bits
        end = ((rows[i] + 1) * row_bits - 1) // transaction_bits
        if count and transactions[count - 1] >= base + start:
            start = transactions[count - 1] - base + 1
        for t in range(start, end + 1):
            transactions[count] = base + t
            count += 1
        last[i] = count - 1
    return transactions[:count].copy(), last


@njit(cache=True)
def _chunk_ready(completion: Any, last: Any, rows_per_chunk: int) -> Any:
    chunks = -(-len(last) // rows_per_chunk)
    ready = np.zeros(chunks, np.int64)
    first = 0
    so_far = 0
    for chunk in range(chunks):
        end = last[min((chunk + 1) * rows_per_chunk, len(last)) - 1]
        for t in range(first, end + 1):
            so_far = max(so_far, completion[t])
        first = end + 1
        ready[chunk] = so_far
    return ready
