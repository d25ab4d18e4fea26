"""Shapes of single-query attention, and how many parts of the keys fill a device."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from algos.kernels.base import DIMS, SMS, KernelShape, Program
from workloads.errors import InputError

WARPS = 4
REPEAT = 4
"""keys that a line of threads takes in a step"""
STAGES = 4
RESIDENT = 2
"""blocks of a multiprocessor that keep its share of the DRAM busy: with 16 to 48 KiB in flight
each, all have 0.9 to 2.6 times what an H200 moves in a microsecond"""
FILL = 3
"""an estimate: steps that a block loses before its pipeline is full, and after"""
MOST_PARTS = 128
"""the merge holds them at once"""


class Decode(KernelShape):
    """Size of an attention of one query a head over a cache."""

    batch: int = Field(1, ge=1)
    heads: int = Field(32, ge=1)
    kv_heads: int = Field(32, ge=1)
    keys: int = Field(4096, ge=1, le=1_048_576)
    dim: int = 128
    parts: int = Field(0, ge=0, le=MOST_PARTS)
    """most parts of the keys that are read side by side; 0: as many as fill the device"""

    def model_post_init(self, context: Any) -> None:
        if self.dim not in DIMS:
            raise InputError(f"decode dim must be one of {DIMS}, not {self.dim}")
        if self.heads % self.kv_heads:
            raise InputError(
                f"decode heads must be a multiple of kv_heads, {self.heads} is not of "
                f"{self.kv_heads}"
            )
        if self.batch * self.heads > 65_535:  # grid dimension y
            raise InputError(
                f"decode batch x heads must be at most 65535, not {self.batch * self.heads}"
            )

    @property
    def group(self) -> int:
        """Query heads that share K and V."""
        return self.heads // self.kv_heads

    @property
    def rows(self) -> int:
        """Query heads of the batch."""
        return self.batch * self.heads

    @property
    def kv_rows(self) -> int:
        """K and V of the batch."""
        return self.batch * self.kv_heads


class SharedDecode(Decode):
    """A decode whose vector code holds the query heads of a group side by side."""

    most_group: ClassVar[int] = 8
    """heads of a group whose sums fit the registers"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        sizes = [size for size in (1, 2, 4, 8) if size <= self.most_group]
        if self.group not in sizes:
            raise InputError(
                f"decode heads must be {', '.join(map(str, sizes))} times kv_heads, {self.heads} "
                f"is not of {self.kv_heads}"
            )


def cut(
    rows: int, keys: int, tile: int, target: str, most: int = 0, resident: int = RESIDENT
) -> tuple[int, int]:
    """Return parts of the keys, and keys of a part: a multiple of the tile, none is empty.

    The longest block is the shorter, the more parts there are, until a further wave of blocks is
    needed; each wave pays for its start.

    Args:
        rows: that are cut alike.
        keys: of a row.
        tile: keys of a step.
        target: of `workloads.gpu_launch.TARGETS`.
        most: parts; 0: `MOST_PARTS`.
        resident: blocks of a multiprocessor that keep its share of the DRAM busy.
    """
    tiles, slots = -(-keys // tile), resident * SMS[target]

    def time(parts: int) -> int:
        return -(-rows * parts // slots) * (-(-tiles // parts) + FILL)

    best = min(range(1, min(tiles, most or MOST_PARTS) + 1), key=time)
    of_part = -(-tiles // best)
    return -(-tiles // of_part), of_part * tile


def lines(row_bytes: int, warps: int = WARPS) -> int:
    """Return the rows of `row_bytes` that a block's threads load at once, 16 B each."""
    return max(warps * 32 * 16 // row_bytes, 1)


def power(number: int) -> int:
    """Return the power of 2 that is not below a number."""
    return 1 << (number - 1).bit_length()


def merge(shape: Decode, parts: int, weighted: bool) -> list[Program]:
    """Return the program that brings parts together; none if there is one part.

    Args:
        shape: of the attention.
        parts: of the keys.
        weighted: by their sums of exponentials; else they are added.
    """
    if parts == 1:
        return []
    heads = {"lse": "*fp32"} if weighted else {}
    read = 4 * shape.rows * parts * (shape.dim + weighted)
    return [
        Program(
            function="merge_parts" if weighted else "add_parts",
            arguments={"partial": "*fp32", **heads, "output": "*fp16", "parts": "i32"},
            constants={"DIM": shape.dim, "PARTS": power(parts)},
            grid=(shape.rows, 1, 1),
            warps=WARPS if parts <= 32 else 2 * WARPS,
            stages=1,
            dram_bytes=2 * shape.rows * shape.dim,
            l2_bytes=read + 2 * shape.rows * shape.dim,
            operations={
                "fp32": 3.0 * shape.rows * power(parts) * shape.dim,
                "special": float(weighted * shape.rows * power(parts)),
            },
            steps=1,
            inflight_bytes=4 * power(parts) * (shape.dim + weighted),
        )
    ]


def buffers(shape: Decode, parts: int, device: Any) -> dict[str, Any]:
    """Return tensors for the output and the parts of it; one part is the output itself."""
    import torch

    output = torch.empty(shape.batch, shape.heads, shape.dim, dtype=torch.float16, device=device)
    partial = output
    if parts > 1:
        partial = torch.empty(shape.rows, parts, shape.dim, dtype=torch.float32, device=device)
    lse = torch.empty(shape.rows, parts, dtype=torch.float32, device=device)
    return {"output": output, "partial": partial, "lse": lse}


def partial_kind(parts: int) -> str:
    """Return the type of the argument `partial`."""
    return "*fp16" if parts == 1 else "*fp32"


def partial_bytes(shape: Decode, parts: int) -> int:
    """Return the bytes of the parts of the output, and of their sums of exponentials."""
    of_head = 2 * shape.dim if parts == 1 else 4 * shape.dim * parts
    return shape.rows * (of_head + 4 * parts)
