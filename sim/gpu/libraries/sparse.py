"""Published kernels and chains of pruned attention and sparse weights as launches."""

from __future__ import annotations

import math

from sim.gpu.devices import Device
from sim.gpu.libraries.attention import Attention, flashinfer_decode, stream
from sim.gpu.libraries.rows import softmax, torch_topk
from workloads.gpu_launch import Launch

SECTOR_BYTES = 32
"""what the L2 cache moves for a value that is read alone"""


def csr_vector(rows: int, columns: int, density: float, device: Device) -> list[Launch]:
    """cuSPARSE's product of a CSR matrix and a vector in single precision: a warp a row.

    Index and value are read in order; each block reads the vector once, which its L1 cache keeps.
    """
    nonzeros = rows * columns * density
    stored = round(8 * nonzeros) + 4 * rows
    blocks = -(-rows // 4)
    return [
        Launch(
            kernel="csr_vector",
            blocks=blocks,
            warps=4,
            registers=32,
            shared_bytes=0,
            dram_bytes=stored + 4 * (rows + columns),
            l2_bytes=stored + 4 * blocks * columns + 4 * rows,
            operations={"fp32": 2.0 * nonzeros, "int32": 4.0 * nonzeros},
            steps=1 + 2 * max(1, round(nonzeros / rows / 32)),  # row, then index and operand
        )
    ]


def csr_matrix(
    tokens: int, rows: int, columns: int, density: float, device: Device
) -> list[Launch]:
    """cuSPARSE's product of a CSR matrix and a dense one by columns, in single precision.

    Each nonzero meets each column: a value that lies alone in its sector.
    """
    nonzeros = rows * columns * density
    stored = round(8 * nonzeros) + 4 * rows
    dense = 4 * tokens * (rows + columns)
    blocks = -(-rows // 4) * -(-tokens // 4)
    return [
        Launch(
            kernel="csr_matrix",
            blocks=blocks,
            warps=4,
            registers=32,
            shared_bytes=0,
            dram_bytes=stored + dense,
            l2_bytes=round(SECTOR_BYTES * nonzeros * tokens) + -(-tokens // 4) * stored + dense,
            operations={"fp32": 2.0 * nonzeros * tokens, "int32": 4.0 * nonzeros * tokens},
            steps=1 + 2 * max(1, round(nonzeros / rows / 32)),
            inflight_bytes=128 * 4 * SECTOR_BYTES,
        )
    ]


def torch_decode(shape: Attention, device: Device) -> list[Launch]:
    """Attention of one token in plain PyTorch: product, division, softmax, product."""
    rows = shape.batch * shape.heads
    scores = 2 * rows * shape.keys
    half = shape.kv_cache_bytes(shape.keys) // 2
    return [
        _batched_vector("bmm_qk", rows, shape.keys, shape.dim, half, scores),
        stream("divide", scores, scores),
        softmax(rows, shape.keys),
        _batched_vector("bmm_pv", rows, shape.keys, shape.dim, half, scores),
    ]


def _batched_vector(
    kernel: str, rows: int, keys: int, dim: int, matrix_bytes: int, vector_bytes: int
) -> Launch:
    """Return a product of a vector and a matrix for each row: 32 keys a block (estimate)."""
    in_flight = 8192
    blocks = rows * -(-keys // 32)
    bytes_ = matrix_bytes + vector_bytes
    return Launch(
        kernel=kernel,
        blocks=blocks,
        warps=4,
        registers=64,
        shared_bytes=1024,
        dram_bytes=bytes_,
        l2_bytes=bytes_,
        operations={"fp32": 2.0 * rows * keys * dim},
        steps=max(1, round(bytes_ / blocks / in_flight)),
        inflight_bytes=in_flight,
    )


def sparq_decode(shape: Attention, channels: int, chosen: int, device: Device) -> list[Launch]:
    """SparQ's benchmark (graphcore-research/llm-inference-research): PyTorch operators and three
    Triton kernels that gather and multiply, a block a head (arXiv:2312.04985, section 5).
    """
    rows = shape.batch * shape.heads
    small = [
        stream(f"small_{place}", 2 * rows * shape.dim, 2 * rows * shape.dim) for place in range(5)
    ]
    return [
        stream("abs", 2 * rows * shape.dim, 2 * rows * shape.dim),
        *torch_topk(rows, shape.dim, channels, device, value_bytes=2),
        *small,  # two sums, a product, a quotient, a root: the scale
        _gathered("sparq_qk", rows, shape.keys, channels, 256, shape.keys),
        softmax(rows, shape.keys),
        *torch_topk(rows, shape.keys, chosen, device, value_bytes=2),
        _gathered("sparq_qk_chosen", rows, chosen, shape.dim, 65_536 // shape.dim, chosen),
        softmax(rows, chosen),
        _gathered("sparq_pv", rows, chosen, shape.dim, max(1, min(64, 8192 // chosen)), shape.dim),
        *small,  # a sum, two products, a difference, a sum: the mean value
    ]


def _gathered(kernel: str, rows: int, length: int, width: int, chunk: int, written: int) -> Launch:
    """Return a block a row that reads `length x width` half-precision values in chunks."""
    read = 2 * rows * length * width
    steps = -(-length // chunk)
    return Launch(
        kernel=kernel,
        blocks=rows,
        warps=4,
        registers=128,
        shared_bytes=4096,
        dram_bytes=read + 2 * rows * written,
        l2_bytes=read + 2 * rows * written,
        operations={"fp32": 2.0 * rows * length * width},
        steps=steps + 1,  # the places first
        inflight_bytes=2 * min(chunk, length) * width,
    )


def quest_attention(shape: Attention, chosen: int, device: Device) -> list[Launch]:
    """Quest's attention over chosen pages of 16 tokens, on FlashInfer (arXiv:2406.10774)."""
    pages = Attention(**{**shape.__dict__, "keys": chosen, "page": 16})
    return flashinfer_decode(pages, device)


def hip_decode(
    shape: Attention, chosen: int, device: Device, *, refresh: bool = True
) -> list[Launch]:
    """HiP: a search that halves the intervals of keys around the chosen ones, then attention.

    An iteration reads a representative of each half and keeps the better half of them by a sort
    within a block (arXiv:2406.09827, section 3). A block a head; a stage of the sort takes about
    half a latency of the L2 cache (estimate: shared memory both ways and a barrier).
    """
    iterations = max(1, math.ceil(math.log2(max(2.0, shape.keys / chosen))))
    stages = max(1, (chosen - 1).bit_length())
    steps = iterations * (2 + stages * (stages + 1) // 4)
    rows = shape.batch * shape.heads
    read = 2 * shape.batch * shape.kv_heads * iterations * chosen * shape.dim
    search = Launch(
        kernel="hip_search",
        blocks=rows,
        warps=4,
        registers=128,
        shared_bytes=16 * 1024,
        dram_bytes=read,
        l2_bytes=read * shape.heads // shape.kv_heads,
        operations={"fp32": 2.0 * rows * iterations * chosen * shape.dim},
        steps=steps,
    )
    attention = Launch(
        kernel="hip_attention",
        blocks=rows,
        warps=4,
        registers=128,
        shared_bytes=32 * 1024,
        dram_bytes=4 * shape.batch * shape.kv_heads * chosen * shape.dim,
        l2_bytes=4 * rows * chosen * shape.dim,
        operations={"tensor_fp16": 4.0 * rows * 16 * chosen * shape.dim},
        steps=2 * -(-chosen // 64),
    )
    return [search, attention] if refresh else [attention]


def mustafar_decode(shape: Attention, density: float, device: Device) -> list[Launch]:
    """Mustafar's decode over a pruned cache in bitmaps: two sparse products, softmax between.

    Kept values and a bit for every value are read; a tile is unpacked into shared memory
    (arXiv:2505.22913). About three integer operations a dense value unpack it (estimate).
    """
    rows = shape.batch * shape.heads
    values = shape.batch * shape.kv_heads * shape.keys * shape.dim
    stored = round(values * (2 * density + 1 / 8))
    scores = 2 * rows * shape.keys
    blocks = rows * -(-shape.keys // 64)

    def product(kernel: str) -> Launch:
        return Launch(
            kernel=kernel,
            blocks=blocks,
            warps=4,
            registers=96,
            shared_bytes=64 * shape.dim * 2,
            dram_bytes=stored + scores,
            l2_bytes=stored * shape.heads // shape.kv_heads + scores,
            operations={
                "int32": 3.0 * rows * shape.keys * shape.dim,
                "fp32": 2.0 * rows * shape.keys * shape.dim,
            },
            steps=2,
            inflight_bytes=max(1, round(64 * shape.dim * (2 * density + 1 / 8) / 2)),
        )

    return [product("mustafar_qk"), softmax(rows, shape.keys), product("mustafar_pv")]
