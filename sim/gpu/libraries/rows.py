"""Kernels of rows: normalization, softmax, gathering, top-k."""

from __future__ import annotations

from sim.gpu.devices import Device
from sim.gpu.libraries.attention import stream
from workloads.gpu_launch import Launch

SELECT_OPS = 36.0
"""Integer operations a value in each pass of PyTorch's radix selection (estimate): address,
conversion and comparison, and for each of the four digits a comparison, a vote, a population count
(a quarter of the rate) and an addition"""
HISTOGRAM_OPS = 20.0
"""the same for a pass with a histogram in shared memory (estimate)"""


def rmsnorm(rows: int, columns: int, device: Device) -> list[Launch]:
    """vLLM's RMSNorm: a block a row, one value a thread at a time, the row read twice."""
    threads = min(1024, -(-columns // 32) * 32)
    trips = -(-columns // threads)
    size = 2 * rows * columns
    return [
        Launch(
            kernel="rmsnorm",
            blocks=rows,
            warps=threads // 32,
            registers=32,
            shared_bytes=256,
            dram_bytes=2 * size,
            l2_bytes=3 * size,
            operations={"fp32": 6.0 * rows * columns},
            steps=2 * trips + 3,  # two loops, and a sum over warps between them
        )
    ]


def softmax(rows: int, columns: int, value_bytes: int = 2) -> Launch:
    """PyTorch's softmax of one pass: a block a row, which stays in registers."""
    size = rows * columns * value_bytes
    threads = max(32, min(1024, -(-columns // 256) * 32))
    return Launch(
        kernel="softmax",
        blocks=rows,
        warps=threads // 32,
        registers=40,
        shared_bytes=1024,
        dram_bytes=2 * size,
        l2_bytes=2 * size,
        operations={"special": float(rows * columns), "fp32": 4.0 * rows * columns},
        steps=4,  # the row, its maximum, its sum, the results
        inflight_bytes=max(1, columns * value_bytes),
    )


def torch_topk(
    rows: int, columns: int, kept: int, device: Device, *, value_bytes: int = 4
) -> list[Launch]:
    """torch.topk of short rows: a block a row selects by two bits a pass, gathers, then sorts.

    ATen/native/cuda/TensorTopK.cu, SortingRadixSelect.cuh. Later versions give a long row to
    several blocks, which is not modelled: few long rows take less time there.
    """
    threads = min(1024, -(-columns // 32) * 32)
    passes = 8 * value_bytes // 2 + 2  # digits, and the gathering of those above and those equal
    size = rows * columns * value_bytes
    select = Launch(
        kernel="topk_select",
        blocks=rows,
        warps=threads // 32,
        registers=32,
        shared_bytes=4096,
        dram_bytes=size + 12 * rows * kept,
        l2_bytes=passes * size + 12 * rows * kept,
        operations={"int32": SELECT_OPS * rows * columns * passes},
        steps=passes * -(-columns // threads),
    )
    return [select, sort(rows, kept)]


def sort(rows: int, kept: int) -> Launch:
    """Return a bitonic sort of each row within a block."""
    stages = max(1, (kept - 1).bit_length())
    exchanges = stages * (stages + 1) // 2
    return Launch(
        kernel="topk_sort",
        blocks=rows,
        warps=max(1, min(32, kept // 64)),
        registers=32,
        shared_bytes=12 * max(32, kept),
        dram_bytes=24 * rows * kept,
        l2_bytes=24 * rows * kept,
        operations={"int32": 20.0 * rows * kept / 2 * exchanges},
        steps=exchanges,
    )


def radix_topk(
    rows: int, columns: int, kept: int, device: Device, *, blocks_a_row: int = 1
) -> list[Launch]:
    """Radix selection by eight bits a pass with a histogram in shared memory.

    Several blocks of a row meet after each pass: three latencies more (estimate).
    """
    threads, passes = 1024, 5  # four digits and the gathering
    size = 4 * rows * columns
    meeting = 3 if blocks_a_row > 1 else 0
    scan = 8  # of 256 bins, by halves
    return [
        Launch(
            kernel="topk_radix",
            blocks=rows * blocks_a_row,
            warps=threads // 32,
            registers=40,
            shared_bytes=32 * 1024,
            dram_bytes=size + 8 * rows * kept,
            l2_bytes=passes * size,
            operations={"int32": HISTOGRAM_OPS * rows * columns * passes},
            steps=passes * (-(-columns // (threads * blocks_a_row)) + scan + meeting),
        )
    ]


def gather(kernel: str, row_bytes: int, rows: int, written_bytes: int) -> Launch:
    """Return a copy of chosen rows: the places first, then the rows."""
    read = rows * row_bytes
    moved = stream(kernel, read, written_bytes)
    return Launch(
        kernel=kernel,
        blocks=moved.blocks,
        warps=4,
        registers=32,
        shared_bytes=0,
        dram_bytes=moved.dram_bytes + 8 * rows,
        l2_bytes=moved.l2_bytes + 8 * rows,
        steps=2,
        inflight_bytes=moved.inflight_bytes,
    )
