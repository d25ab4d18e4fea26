"""Attention of one query whose scores use some channels of K only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value
from algos.kernels.decode.shape import (
    WARPS,
    buffers,
    cut,
    merge,
    partial_bytes,
    partial_kind,
    power,
    scale_log2,
)
from algos.kernels.dense_decode.kernel import (
    BLOCK_N,
    GROUP_STAGES,
    LLAMA,
    DenseShape,
)
from algos.kernels.draw import Draw
from algos.kernels.lists import check_ids

if TYPE_CHECKING:
    from torch import Tensor

ALIGNED = 16
"""keys that a row of K is filled up to: each channel starts at 32 B"""


class Channels(DenseShape):
    """Size of a decode that scores with some channels of K."""

    pruned: float = Field(0.4, ge=0, lt=1)
    """channels of K left out, rounded down"""
    compact: bool = True
    """K is stored without the channels left out, which were chosen once (ThinK). Else all are
    stored and each step may choose others (FASA, SparQ)"""

    @property
    def kept(self) -> int:
        """Channels of K that are read."""
        return self.dim - int(self.dim * self.pruned + 1e-9)

    @property
    def stored(self) -> int:
        """Channels of K in memory."""
        return self.kept if self.compact else self.dim

    @property
    def stride(self) -> int:
        """Keys from a channel to the next."""
        return -(-self.keys // ALIGNED) * ALIGNED


def parts(shape: Channels, target: str) -> tuple[int, int]:
    """Return parts of the keys, and keys of a part."""
    return cut(shape.kv_rows, shape.keys, BLOCK_N, target, shape.parts)


class ChannelScores(Kernel):
    """Score with the kept channels of K, stored channel after channel; mix all of V.

    Any choice of channels saves its share of K's bytes, as the keys of a channel are neighbours; a
    new token costs a sector a channel, which is little beside reading the cache. Channels are
    those of a KV head. ThinK's window of recent tokens, whose K is whole, is left out, as in its
    variant for quantised caches; scores are not rescaled for the channels left out.
    """

    name: ClassVar[str] = "channel-scores"
    title: ClassVar[str] = "decode that scores with some channels of K"
    source: ClassVar[str] = (
        "ThinK, arXiv:2407.21018; FASA, arXiv:2602.03152 (channels of each step)"
    )
    dense: ClassVar[str | None] = "dense-decode"
    sparsity: ClassVar[str] = "share of K's channels left out"
    promises: ClassVar = {
        "channel_decode": Promise(
            2, {"sm_80": ("mma.sync", "cp.async"), "sm_90": ("mma.sync", "cp.async")}
        ),
        "merge_parts": Promise(4),
    }
    tests: ClassVar = {
        "compact": Channels(batch=2, heads=2, kv_heads=2, keys=150, dim=64),
        "of all": Channels(heads=2, kv_heads=2, keys=150, dim=64, pruned=0.75, compact=False),
        "group": Channels(heads=6, kv_heads=2, keys=200, dim=32, compact=False, parts=2),
        "one part": Channels(heads=1, kv_heads=1, keys=200, dim=128, pruned=0.3, parts=1),
        "one channel": Channels(heads=2, kv_heads=2, keys=77, dim=16, pruned=0.95),
        "one key": Channels(heads=2, kv_heads=1, keys=1, dim=32),
        "all channels": Channels(heads=2, kv_heads=2, keys=65, dim=32, pruned=0),
    }
    papers: ClassVar = {
        "llama-2-7b-1024": Channels(keys=1024, **LLAMA),
        "llama-2-7b-4096": Channels(keys=4096, **LLAMA),
        "llama-2-7b-4096-each-step": Channels(keys=4096, pruned=0.75, compact=False, **LLAMA),
        "llama-2-7b-32768": Channels(keys=32_768, **LLAMA),
    }

    def inputs(self, shape: Channels, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        rows = (shape.batch, shape.kv_heads)
        return {
            "query": draw.normal(shape.batch, shape.heads, shape.dim),
            "key": draw.normal(*rows, shape.stored, shape.stride),
            "value": draw.normal(*rows, shape.keys, shape.dim),
            "channels": draw.chosen(*rows, count=shape.kept, among=shape.dim),
        }

    def naive(self, shape: Channels, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.channel_scores.naive import decode

        return {"output": decode(inputs, shape.keys, shape.compact)}

    def buffers(self, shape: Channels, inputs: Tensors) -> dict[str, Tensor]:
        """Return tensors for results.

        Raises:
            InputError: channels that are out of range or order, if they are in the host's memory.
        """
        from algos.kernels.launch import target_here

        check_ids("channel-scores channels", inputs["channels"], shape.dim)
        return buffers(shape, parts(shape, target_here())[0], inputs["query"].device)

    def scalars(self, shape: Channels) -> dict[str, Value]:
        from algos.kernels.launch import target_here

        count, length = parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "keys": shape.keys,
            "stride": shape.stride,
            "stored": shape.stored,
            "kept": shape.kept,
            "length": length,
            "parts": count,
        }

    def programs(self, shape: Channels, target: str) -> list[Program]:
        count, length = parts(shape, target)
        block_m, channels = max(power(shape.group), 16), max(power(shape.kept), 16)
        scores = float(shape.kv_rows * count * length * block_m)
        output = 2 * shape.rows * shape.dim
        return [
            Program(
                function="channel_decode",
                arguments={
                    "query": "*fp16",
                    "key": "*fp16",
                    "value": "*fp16",
                    "channels": "*i32",
                    "partial": partial_kind(count),
                    "lse": "*fp32",
                    "scale_log2": "fp32",
                    "keys": "i32",
                    "stride": "i32",
                    "stored": "i32",
                    "kept": "i32",
                    "length": "i32",
                },
                constants={
                    "COMPACT": shape.compact,
                    "GROUP": shape.group,
                    "DIM": shape.dim,
                    "CHANNELS": channels,
                    "BLOCK_M": block_m,
                    "BLOCK_N": BLOCK_N,
                    "STAGES": GROUP_STAGES,
                },
                grid=(count, shape.kv_rows, 1),
                warps=WARPS,
                stages=GROUP_STAGES,
                divisible=("stride", "length"),
                dram_bytes=self.count(shape).dram_bytes - (output if count > 1 else 0),
                l2_bytes=2 * shape.kv_rows * (shape.stride * shape.kept + shape.keys * shape.dim)
                + (2 * shape.rows + 4 * shape.kv_rows) * shape.kept * count
                + partial_bytes(shape, count),
                operations={
                    "tensor_fp16": 2 * scores * (channels + shape.dim),
                    "special": scores,
                    "fp32": 6 * scores,  # scale, maximum, difference, sum and its rescaling
                },
                steps=length // BLOCK_N,
                inflight_bytes=(GROUP_STAGES - 1) * 2 * BLOCK_N * (shape.kept + shape.dim),
                longest=length * count / shape.keys,
            ),
            *merge(shape, count, weighted=True),
        ]

    def count(self, shape: Channels) -> Count:
        of_key = shape.kept + shape.dim
        return Count(
            flops=2.0 * shape.rows * shape.keys * of_key,
            dram_bytes=2 * shape.kv_rows * shape.keys * of_key
            + 4 * shape.kv_rows * shape.kept
            + 4 * shape.rows * shape.dim,
            unit="tensor_fp16",
        )

    def at_sparsity(self, shape: Channels, share: float) -> Channels:
        return shape.override({"pruned": share})

    def dense_shape(self, shape: Channels) -> DenseShape:
        return DenseShape(**shape.model_dump(exclude={"pruned", "compact"}))
