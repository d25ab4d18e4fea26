"""What a GPU is asked to run: one launch of a kernel, as plain data.

It crosses from the kernels, which know their tiles, to the cost model, which knows devices; so
neither needs the other. Nothing here needs a GPU or a GPU compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PIPES = ("tensor_fp16", "tensor_int8", "fp32", "int32", "special")
"""Units of a streaming multiprocessor. Operations of `tensor_*` and `fp32` are 2 a multiply-add;
`special` are exponentials and reciprocals."""


@dataclass(frozen=True)
class SmLimits:
    """What bounds the thread blocks that are resident on one streaming multiprocessor.

    Source: CUDA C++ Programming Guide, "Compute Capabilities", technical specifications.
    """

    warps: int
    blocks: int
    registers: int = 65_536
    register_unit: int = 256
    """registers are given to a warp in multiples of this"""
    shared_bytes: int = 0
    block_shared_bytes: int = 0
    """the most that one block can have"""
    reserved_shared_bytes: int = 1_024
    """taken by the system of each block"""
    shared_unit_bytes: int = 128


SM_80 = SmLimits(warps=64, blocks=32, shared_bytes=164 * 1024, block_shared_bytes=163 * 1024)
SM_90 = SmLimits(warps=64, blocks=32, shared_bytes=228 * 1024, block_shared_bytes=227 * 1024)
TARGETS: dict[str, SmLimits] = {"sm_80": SM_80, "sm_90": SM_90}
"""What kernels are compiled for: A100, and H100 and H200."""


def blocks_per_sm(limits: SmLimits, warps: int, registers: int, shared_bytes: int) -> int:
    """Return how many thread blocks are resident at once; 0: not even one fits.

    Args:
        limits: of the streaming multiprocessor.
        warps: of a block.
        registers: of a thread.
        shared_bytes: of a block.
    """
    if shared_bytes > limits.block_shared_bytes:
        return 0
    of_warp = _round_up(32 * registers, limits.register_unit)
    shared = _round_up(shared_bytes + limits.reserved_shared_bytes, limits.shared_unit_bytes)
    return min(
        limits.blocks,
        limits.warps // warps,
        limits.registers // max(of_warp * warps, 1),
        limits.shared_bytes // shared,
    )


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


@dataclass(frozen=True)
class Launch:
    """One launch: its size, its resources, what it moves and computes."""

    kernel: str
    """name; the cost model has a curve for some"""
    blocks: int
    """thread blocks"""
    warps: int
    """of a block"""
    registers: int
    """of a thread, as compiled"""
    shared_bytes: int
    """of a block, as compiled"""
    dram_bytes: int
    """compulsory: every operand read once, every result written once"""
    l2_bytes: int
    """what blocks read and write through the L2 cache, rereads included"""
    operations: Mapping[str, float] = field(default_factory=dict)
    """pipe of `PIPES` -> operations of all blocks together, tiles' padding included"""
    steps: int = 1
    """trips of the longest loop of a block, each of which waits for the memory or the one before"""
    inflight_bytes: int = 0
    """what a block asks of the memory ahead of its use: stages x bytes of a step"""
    longest: float = 1.0
    """work of the longest block over the mean: causal masks, rows of unequal length"""
