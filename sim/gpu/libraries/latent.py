"""Decode of multi-head latent attention: one cached row of 576 serves all heads (DeepSeek-V2)."""

from __future__ import annotations

from sim.gpu.devices import Device
from sim.gpu.libraries.attention import FP32_A_SCORE
from workloads.gpu_launch import Launch

ROW = 576
"""values of a cached token: 512 that are both key and value, and 64 with the position"""
FP8_ROW_BYTES = 656
"""512 one-byte values, 4 scales of 4 bytes, 64 values of 2 bytes (FlashMLA, docs)"""
DEQUANT_OPS = 6.25
"""integer and conversion instructions a cached value: about 50 cycles of an SM for the 512 of a
token, says FlashMLA of its sparse fp8 kernel, at 64 a cycle"""


def _rows_used(heads: int) -> int:
    return max(16, min(64, heads))


def mla_decode(batch: int, keys: int, heads: int, device: Device) -> list[Launch]:
    """Dense latent decode: blocks of up to 64 heads, two per SM's worth of parts of the keys."""
    rows = _rows_used(heads)
    row_blocks = batch * -(-heads // rows)
    tiles = -(-keys // 64)
    parts = max(1, min(tiles, device.sms // max(row_blocks, 1)))
    bytes_ = batch * keys * ROW * 2
    scores = float(row_blocks * rows * keys)
    stage = 32 * ROW * 2
    return [
        Launch(
            kernel="flashmla_decode",
            blocks=row_blocks * parts,
            warps=8,
            registers=168,
            shared_bytes=min(2 * stage + rows * ROW * 2, device.limits.block_shared_bytes),
            dram_bytes=bytes_ + 4 * batch * heads * ROW,
            l2_bytes=bytes_ * -(-heads // rows) + 4 * batch * heads * ROW,
            operations={
                "tensor_fp16": 2.0 * scores * (ROW + 512),
                "special": scores,
                "fp32": FP32_A_SCORE * scores,
            },
            steps=-(-2 * tiles // parts),
            inflight_bytes=stage,
        )
    ]


def mla_sparse_decode(
    batch: int, queries: int, heads: int, chosen: int, device: Device
) -> list[Launch]:
    """FlashMLA's sparse decode of chosen tokens, cache in fp8.

    A block has 64 heads of a query; two blocks share the conversion of what they read.
    """
    blocks = batch * queries * heads // 64
    scores = float(blocks * 64 * chosen)
    read = batch * queries * chosen * FP8_ROW_BYTES
    return [
        Launch(
            kernel="flashmla_sparse",
            blocks=blocks,
            warps=12,
            registers=168,
            shared_bytes=200 * 1024,
            dram_bytes=read + 4 * batch * queries * heads * ROW,
            l2_bytes=read + 4 * batch * queries * heads * ROW,
            operations={
                "tensor_fp16": 2.0 * scores * (ROW + 512),
                "special": scores,
                "fp32": FP32_A_SCORE * scores,
                "int32": DEQUANT_OPS * batch * queries * chosen * 512,
            },
            steps=-(-chosen // 64),
            inflight_bytes=64 * FP8_ROW_BYTES // 2,
        )
    ]
