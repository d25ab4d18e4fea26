"""Attention of one query over sinks and a ring of recent tokens, in 4 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algos.kernels.base import (
    Count,
    Kernel,
    Program,
    Promise,
    Tensors,
    Value,
    divisible,
    scale_log2,
)
from algos.kernels.decode.shape import (
    STAGES,
    WARPS,
    SharedDecode,
    buffers,
    cut,
    merge,
    partial_bytes,
    partial_kind,
)
from algos.kernels.dense_decode.kernel import LLAMA, DenseShape
from algos.kernels.draw import Draw

if TYPE_CHECKING:
    from torch import Tensor

THREAD_WORDS = {1: 4, 2: 2, 4: 1}
"""heads of a group -> words of a row that a thread unpacks: registers hold each head's sums"""
META_BYTES = 5
"""of a token of a KV head: two scales, and a byte of two zero points"""


class Lambda(SharedDecode):
    """Size of a decode over sinks and a window; `keys` are the tokens so far."""

    most_group: ClassVar[int] = 4

    sinks: int = Field(4, ge=0, le=1024)
    """first tokens that stay"""
    window: int = Field(2044, ge=1, le=131_072)
    """latest tokens that stay, the newest among them"""

    @property
    def held(self) -> int:
        """Tokens that the cache holds."""
        return min(self.keys, self.sinks + self.window)

    @property
    def slots(self) -> int:
        """Tokens that there is room for: zero points of four are a word."""
        return -(-(self.sinks + self.window) // 4) * 4

    @property
    def token_bytes(self) -> int:
        """Bytes of K and V of a token of a KV head."""
        return self.dim + META_BYTES


def tile(shape: Lambda) -> tuple[int, int, int]:
    """Return words of a thread, lines of threads, and tokens that a line takes in a step."""
    words = min(THREAD_WORDS[shape.group], shape.dim // 8)
    return words, WARPS * 32 * words * 8 // shape.dim, 2


def parts(shape: Lambda, target: str) -> tuple[int, int]:
    """Return parts of the tokens held, and tokens of a part."""
    _, rows, repeat = tile(shape)
    return cut(shape.kv_rows, shape.held, repeat * rows, target, shape.parts)


class LambdaDecode(Kernel):
    """Attend to sinks and a ring of recent tokens, K and V in 4 bits; older context costs nothing.

    Codes have a half-precision scale and a 4-bit zero point for each token and KV head, K and V
    apart: 133 B a token at 128 channels. K is stored after its rotary embedding, so the order of
    the ring does not matter; distances to the sinks are not capped. Writing the newest token is
    left to the caller. AccLLM's engine multiplies 8-bit queries and probabilities; here they are
    float32.
    """

    name: ClassVar[str] = "lambda-kv4-decode"
    title: ClassVar[str] = "decode over sinks and a ring of recent tokens in 4 bits"
    source: ClassVar[str] = "AccLLM, arXiv:2505.03745; LM-Infinite, arXiv:2308.16137"
    dense: ClassVar[str | None] = "dense-decode"
    sparsity: ClassVar[str] = "share of the context that is dropped"
    promises: ClassVar = {
        "lambda_decode": Promise(3, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "merge_parts": Promise(4),
    }
    tests: ClassVar = {
        "filling": Lambda(batch=2, heads=2, kv_heads=2, keys=150, dim=64, sinks=4, window=200),
        "turned": Lambda(heads=2, kv_heads=2, keys=1000, dim=64, sinks=3, window=141),
        "long part": Lambda(heads=1, kv_heads=1, keys=500, dim=128, window=296, parts=2),
        "one part": Lambda(heads=2, kv_heads=2, keys=400, dim=16, window=380, parts=1),
        "pairs": Lambda(batch=2, heads=4, kv_heads=2, keys=300, dim=32, window=140),
        "groups": Lambda(heads=8, kv_heads=2, keys=300, dim=64, sinks=0, window=141),
        "one token": Lambda(heads=2, kv_heads=1, keys=1, dim=32, window=1),
    }
    papers: ClassVar = {
        "llama-2-7b-1024": Lambda(keys=1024, **LLAMA),
        "llama-2-7b-4096": Lambda(keys=4096, **LLAMA),
        "llama-2-7b-7168": Lambda(keys=7168, **LLAMA),
        "llama-2-7b-32768": Lambda(keys=32_768, **LLAMA),
    }

    def inputs(self, shape: Lambda, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        import torch

        draw = Draw(seed, device)
        rows = (shape.batch, shape.kv_heads)
        scales = draw.uniform(*rows, 2 * shape.slots, low=0.1, high=0.3)

        def words(*size: int) -> Tensor:
            return draw.integers(*size, low=-(2**31), high=2**31 - 1, dtype="int32")

        return {
            "query": draw.normal(shape.batch, shape.heads, shape.dim),
            "key": words(*rows, shape.slots, shape.dim // 8),
            "value": words(*rows, shape.slots, shape.dim // 8),
            "scales": scales.view(torch.int32),  # of K in the low half, of V in the high one
            "zeros": words(*rows, shape.slots // 4),  # likewise in each byte
        }

    def naive(self, shape: Lambda, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.lambda_decode.naive import decode

        return {"output": decode(inputs, shape.keys, shape.sinks, shape.window)}

    def buffers(self, shape: Lambda, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.launch import target_here

        return buffers(shape, parts(shape, target_here())[0], inputs["query"].device)

    def scalars(self, shape: Lambda) -> dict[str, Value]:
        from algos.kernels.launch import target_here

        count, length = parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "slots": shape.slots,
            "held": shape.held,
            "length": length,
            "parts": count,
        }

    def programs(self, shape: Lambda, target: str) -> list[Program]:
        count, length = parts(shape, target)
        words, rows, repeat = tile(shape)
        cache = shape.kv_rows * shape.held * shape.token_bytes
        tokens = float(shape.kv_rows * count * length)
        elements = tokens * shape.dim
        across = shape.dim // (8 * words)  # threads a row
        output = 2 * shape.rows * shape.dim
        return [
            Program(
                function="lambda_decode",
                arguments={
                    "query": "*fp16",
                    "key": "*i32",
                    "value": "*i32",
                    "scales": "*i32",
                    "zeros": "*i32",
                    "partial": partial_kind(count),
                    "lse": "*fp32",
                    "scale_log2": "fp32",
                    "slots": "i32",
                    "held": "i32",
                    "length": "i32",
                },
                constants={
                    "GROUP": shape.group,
                    "DIM": shape.dim,
                    "REPEAT": repeat,
                    "ROWS": rows,
                    "STAGES": STAGES,
                    "WORDS": words,
                },
                grid=(count, shape.kv_rows, 1),
                warps=WARPS,
                stages=STAGES,
                divisible=divisible(slots=shape.slots, length=length),
                dram_bytes=cache + output + (output if count == 1 else 0),
                l2_bytes=cache + output * count + partial_bytes(shape, count),
                operations={
                    # of an element and head: two multiply-adds; of V the rescaling
                    "fp32": elements * shape.group * (4 + 1 / repeat),
                    "int32": elements * 4 + tokens * across * 14,  # a shift and a mask of each code
                    "special": tokens * shape.group * across * (1 + 1 / repeat),
                },
                steps=length // (repeat * rows),
                inflight_bytes=(STAGES - 1) * repeat * rows * shape.token_bytes,
                longest=length * count / shape.held,
            ),
            *merge(shape, count, weighted=True),
        ]

    def count(self, shape: Lambda) -> Count:
        return Count(
            flops=4.0 * shape.rows * shape.held * shape.dim,
            dram_bytes=shape.kv_rows * shape.held * shape.token_bytes + 4 * shape.rows * shape.dim,
            unit="fp32",
        )

    def at_sparsity(self, shape: Lambda, share: float) -> Lambda:
        return shape.override({"window": max(round((1 - share) * shape.keys) - shape.sinks, 1)})

    def dense_shape(self, shape: Lambda) -> DenseShape:
        return DenseShape(**shape.model_dump(exclude={"sinks", "window"}))
