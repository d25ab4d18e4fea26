"""Dense attention kernels of libraries as launches: FlashAttention-2 and -3, decode, backward.

Tiles, warps and splits are those of Dao-AILab/flash-attention (csrc/flash_attn/src, hopper); what
it does not state of registers, stages and instructions is called an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sim.gpu.devices import Device
from workloads.gpu_launch import Launch

FP32_A_SCORE = 6.0
"""scale, maximum, difference, sum and its rescaling, of an online softmax (estimate)"""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """An attention: `queries` new tokens of each sequence look at `keys` tokens."""

    batch: int = 1
    queries: int = 1
    keys: int = 1
    heads: int = 32
    kv_heads: int = 32
    dim: int = 128
    causal: bool = False
    window: int = 0
    """keys that a query sees; 0: all"""
    kv_bytes: int = 2
    """of an element of the cache"""
    page: int = 0
    """tokens of a page of the cache; 0: not paged"""

    @property
    def qo_bytes(self) -> int:
        """Bytes of queries and results, half precision."""
        return 2 * 2 * self.batch * self.queries * self.heads * self.dim

    def kv_cache_bytes(self, tokens: int) -> int:
        """Return bytes of K and V of so many tokens of each sequence."""
        return 2 * self.batch * tokens * self.kv_heads * self.dim * self.kv_bytes

    @property
    def nominal_flops(self) -> float:
        """4 B H Sq Sk d, half of it if causal: what published rates count."""
        return (4.0 * self.batch * self.heads * self.queries * self.keys * self.dim) / (
            2 if self.causal else 1
        )


def tile_counts(shape: Attention, block_m: int, block_n: int) -> tuple[int, int]:
    """Return tiles of keys that a head's blocks of queries visit: all together, and the most."""
    seen = []
    behind = shape.keys - shape.queries
    for first in range(0, shape.queries, block_m):
        end, start = shape.keys, 0
        if shape.causal:
            end = min(shape.keys, behind + first + block_m)
        if shape.window:
            start = max(0, behind + first - shape.window)
        seen.append(-(-end // block_n) - start // block_n)
    return sum(seen), max(seen)


def _prefill(
    kernel: str,
    shape: Attention,
    tile: tuple[int, int],
    *,
    warps: int,
    registers: int,
    tiles_ahead: float,
    shared_bytes: int,
) -> Launch:
    block_m, block_n = tile
    visits, most = tile_counts(shape, block_m, block_n)
    rows = -(-shape.queries // block_m)
    heads = shape.batch * shape.heads
    scores = float(heads * visits * block_m * block_n)
    pair = 2 * block_n * shape.dim * shape.kv_bytes  # a tile of K and of V
    return Launch(
        kernel=kernel,
        blocks=rows * heads,
        warps=warps,
        registers=registers,
        shared_bytes=shared_bytes,
        dram_bytes=shape.qo_bytes + shape.kv_cache_bytes(shape.keys),
        l2_bytes=heads * visits * pair + shape.qo_bytes,
        operations={
            "tensor_fp16": 4.0 * scores * shape.dim,
            "special": scores,
            "fp32": FP32_A_SCORE * scores,
        },
        steps=most,
        inflight_bytes=round(tiles_ahead * pair / 2),
        longest=most * rows / visits,
    )


def flash2_prefill(shape: Attention, device: Device) -> list[Launch]:
    """FlashAttention-2 over a prompt: 128 queries a block, four warps, one tile ahead."""
    small = device.architecture == "ada"  # 100 KB of shared memory: flash_fwd_launch_template.h
    if shape.dim <= 64:
        tile, warps = (128, 128), 4
    elif shape.dim <= 128:
        narrow = (64, 64) if shape.causal else (128, 32)
        tile, warps = narrow if small else (128, 64), 4
    else:
        tile, warps = (64, 64) if small else (128, 64), 4 if small else 8
    shared = 2 * shape.dim * (tile[0] + 2 * tile[1])
    return [
        _prefill(
            "flash2_prefill",
            shape,
            tile,
            warps=warps,
            registers=255,
            tiles_ahead=1,
            shared_bytes=min(shared, device.limits.block_shared_bytes),
        )
    ]


def flash2_backward(shape: Attention, device: Device) -> list[Launch]:
    """FlashAttention-2, forward and backward.

    The backward kernel makes five products a tile where the forward pass makes two; its blocks own
    keys, and dQ is summed in single precision by atomics. Before it, sums of dO x O; after it, dQ
    is converted.
    """
    block_m, block_n = (64, 128) if shape.dim > 64 else (128, 128)
    turned = Attention(**{**shape.__dict__, "queries": shape.keys, "keys": shape.queries})
    visits, most = tile_counts(turned, block_n, block_m)
    columns = -(-shape.keys // block_n)
    heads = shape.batch * shape.heads
    scores = float(heads * visits * block_m * block_n)
    tensor = shape.qo_bytes // 2  # one of Q, O, dQ, dO
    kv = shape.kv_cache_bytes(shape.keys)
    pair = 2 * block_m * shape.dim * 2  # a tile of Q and of dO
    main = Launch(
        kernel="flash2_backward",
        blocks=columns * heads,
        warps=8,
        registers=255,
        shared_bytes=min(144 * 1024, device.limits.block_shared_bytes),
        dram_bytes=4 * tensor + 2 * kv,
        l2_bytes=heads * visits * (pair + 2 * 4 * block_m * shape.dim) + 2 * kv,
        operations={
            "tensor_fp16": 10.0 * scores * shape.dim,
            "special": scores,
            "fp32": 8.0 * scores,
        },
        steps=most,
        inflight_bytes=pair,
        longest=most * columns / visits,
    )
    return [
        *flash2_prefill(shape, device),
        stream("dot_do_o", 2 * tensor, 0),
        main,
        stream("convert_dq", 2 * tensor, tensor),
    ]


def stream(kernel: str, read_bytes: int, written_bytes: int) -> Launch:
    """Return an elementwise kernel: 16 bytes a thread at a time, four times (estimate)."""
    of_block = 4 * 128 * 16
    return Launch(
        kernel=kernel,
        blocks=max(1, -(-max(read_bytes, written_bytes) // of_block)),
        warps=4,
        registers=32,
        shared_bytes=0,
        dram_bytes=read_bytes + written_bytes,
        l2_bytes=read_bytes + written_bytes,
        steps=1,
        inflight_bytes=of_block,
    )


def flash3_prefill(shape: Attention, device: Device) -> list[Launch]:
    """FlashAttention-3 over a prompt: a producer and two or three consumer warpgroups, one block
    an SM, two tiles of K and of V in flight."""
    wide = not shape.causal and not shape.window
    if shape.dim <= 64:
        tile, warps = (192, 192 if wide else 128), 16
    elif shape.dim <= 128:
        tile, warps = (128, 176 if wide else 128), 12
    else:
        tile, warps = (128, 80), 12
    return [
        _prefill(
            "flash3_prefill",
            shape,
            tile,
            warps=warps,
            registers=65_536 // (32 * warps) // 8 * 8,
            tiles_ahead=4,
            shared_bytes=200 * 1024,
        )
    ]


def triton_prefill(shape: Attention, device: Device) -> list[Launch]:
    """Triton's tutorial 06: 128 queries, 64 keys, three stages (its autotuner's usual choice)."""
    block_n = 64
    warps = 8 if device.architecture in ("hopper", "blackwell") else 4
    return [
        _prefill(
            "triton_prefill",
            shape,
            (128, block_n),
            warps=warps,
            registers=255 if warps == 4 else 168,
            tiles_ahead=4,
            shared_bytes=2 * shape.dim * (128 + 4 * block_n),
        )
    ]


def splits(blocks: int, places: int, tiles: int, most: int = 128) -> int:
    """Return in how many parts FlashAttention cuts the keys: the fewest within 85 % of the best.

    Args:
        blocks: without splitting.
        places: SMs, or twice as many in FlashAttention-2.
        tiles: of keys.
        most: limit.
    """
    if blocks >= 0.8 * places:
        return 1
    found = []
    for parts in range(1, min(most, places, tiles) + 1):
        if parts > 1 and -(-tiles // parts) == -(-tiles // (parts - 1)):
            continue
        waves = blocks * parts / places
        found.append((parts, waves / math.ceil(waves)))
    best = max(share for _, share in found)
    return next(parts for parts, share in found if share >= 0.85 * best)


def _decode(
    kernel: str,
    shape: Attention,
    *,
    rows: int,
    block_n: int,
    parts: int,
    packed: bool,
    warps: int,
    registers: int,
    shared_bytes: int,
    tiles_ahead: float,
) -> list[Launch]:
    seen = min(shape.window, shape.keys) if shape.window else shape.keys
    group = shape.heads // shape.kv_heads
    heads = shape.batch * (shape.kv_heads if packed else shape.heads)
    row_blocks = -(-group * shape.queries // rows) if packed else -(-shape.queries // rows)
    tiles = -(-seen // block_n) + bool(shape.window)  # a window starts within a tile
    steps = -(-tiles // parts)
    scores = float(heads * row_blocks * tiles * block_n * rows)
    pair = 2 * block_n * shape.dim * shape.kv_bytes
    pages = 4 * shape.batch * -(-seen // shape.page) if shape.page else 0
    partial = 4 * shape.batch * shape.queries * shape.heads * (shape.dim + 1) * parts
    split_bytes = partial if parts > 1 else 0
    launches = [
        Launch(
            kernel=kernel,
            blocks=heads * row_blocks * parts,
            warps=warps,
            registers=registers,
            shared_bytes=shared_bytes,
            dram_bytes=shape.qo_bytes + shape.kv_cache_bytes(seen) + pages + split_bytes,
            l2_bytes=heads * row_blocks * tiles * pair + shape.qo_bytes + pages + split_bytes,
            operations={
                "tensor_fp16": 4.0 * scores * shape.dim,
                "special": scores,
                "fp32": FP32_A_SCORE * scores,
            },
            steps=steps,
            inflight_bytes=round(tiles_ahead * pair / 2),
        )
    ]
    if parts > 1:
        launches.append(combine(shape, parts))
    return launches


def combine(shape: Attention, parts: int) -> Launch:
    """Return the kernel that adds the parts of a split decode: a block for eight rows."""
    rows = shape.batch * shape.queries * shape.heads
    read = 4 * rows * (shape.dim + 1) * parts
    return Launch(
        kernel="flash_combine",
        blocks=max(1, -(-rows // 8)),
        warps=4,
        registers=64,
        shared_bytes=16 * 1024,
        dram_bytes=read + 2 * rows * shape.dim,
        l2_bytes=read + 2 * rows * shape.dim,
        operations={"fp32": 2.0 * rows * shape.dim * parts, "special": float(rows * parts)},
        steps=2,
        inflight_bytes=max(1, read // max(1, -(-rows // 8)) // 2),
    )


def flash2_decode(shape: Attention, device: Device, *, packed: bool = True) -> list[Launch]:
    """FlashAttention-2's split decode: 64 rows a block, heads of a group packed into them."""
    block_n = 256 if shape.dim <= 64 else 128 if shape.dim <= 128 else 64
    heads = shape.batch * (shape.kv_heads if packed else shape.heads)
    shared = 2 * shape.dim * (64 + 2 * block_n)
    if shared > device.limits.block_shared_bytes:
        block_n //= 2
        shared = 2 * shape.dim * (64 + 2 * block_n)
    parts = splits(heads, 2 * device.sms, -(-shape.keys // block_n))
    return _decode(
        "flash2_decode",
        shape,
        rows=64,
        block_n=block_n,
        parts=parts,
        packed=packed,
        warps=4,
        registers=255,
        shared_bytes=shared,
        tiles_ahead=1,
    )


def cache_write(shape: Attention) -> Launch:
    """Return vLLM's kernel that writes new keys and values into pages, before attention."""
    tokens = shape.batch * shape.queries
    moved = 2 * tokens * shape.kv_heads * shape.dim * 2
    return replace(stream("reshape_and_cache", moved, moved), blocks=tokens, steps=2)


def vllm2_prefill(shape: Attention, device: Device) -> list[Launch]:
    """vLLM's attention layer over a prompt, on FlashAttention-2: the cache is written first."""
    return [cache_write(shape), *flash2_prefill(shape, device)]


def vllm2_decode(shape: Attention, device: Device) -> list[Launch]:
    """vLLM's attention layer for one token, on FlashAttention-2: the cache is written first."""
    return [cache_write(shape), *flash2_decode(shape, device)]


def flash2_unsplit(shape: Attention, device: Device) -> list[Launch]:
    """FlashAttention-2 before it split keys: a block a head, 128 rows of which one is used."""
    return _decode(
        "flash2_prefill",
        shape,
        rows=128,
        block_n=64,
        parts=1,
        packed=False,
        warps=4,
        registers=255,
        shared_bytes=2 * shape.dim * (128 + 2 * 64),
        tiles_ahead=1,
    )


def flash3_decode(shape: Attention, device: Device) -> list[Launch]:
    """FlashAttention-3's decode: a kernel that plans the splits, the kernel, the combination."""
    rows, block_n = (64, 128) if shape.dim <= 128 else (64, 64)
    tiles = -(-(shape.window or shape.keys) // block_n)
    parts = 1 if tiles <= 4 else splits(shape.batch * shape.kv_heads, device.sms, tiles)
    plan = Launch(
        kernel="flash_plan",
        blocks=1,
        warps=32,
        registers=32,
        shared_bytes=0,
        dram_bytes=16 * shape.batch,
        l2_bytes=16 * shape.batch,
        steps=2,
    )
    found = _decode(
        "flash3_decode",
        shape,
        rows=rows,
        block_n=block_n,
        parts=parts,
        packed=True,
        warps=8,
        registers=168,
        shared_bytes=min(
            2 * shape.dim * (rows + 2 * 2 * block_n) * max(shape.kv_bytes, 2) // 2, 200 * 1024
        ),
        tiles_ahead=1 if shape.page and shape.page % block_n else 3,
    )
    return [plan, *found, *([combine(shape, 1)] if parts == 1 else [])]


def flashinfer_decode(shape: Attention, device: Device) -> list[Launch]:
    """FlashInfer's decode: keys cut so that every SM has two blocks, then a combination."""
    heads = shape.batch * shape.kv_heads
    tiles = -(-shape.keys // 64)
    parts = max(1, min(tiles, -(-2 * device.sms // heads)))
    return _decode(
        "flashinfer_decode",
        shape,
        rows=16,
        block_n=64,
        parts=parts,
        packed=True,
        warps=4,
        registers=128,
        shared_bytes=min(2 * shape.dim * 2 * 2 * 64, device.limits.block_shared_bytes),
        tiles_ahead=2,
    )
