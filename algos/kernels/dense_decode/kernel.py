"""Dense attention of one query: the control that sparse decodes must beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

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
    REPEAT,
    STAGES,
    WARPS,
    Decode,
    buffers,
    cut,
    lines,
    merge,
    partial_bytes,
    partial_kind,
    power,
)
from algos.kernels.draw import Draw
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_N = 64
GROUP_STAGES = 3
LLAMA: dict[str, Any] = {"heads": 32, "kv_heads": 32, "dim": 128}
GPT2: dict[str, Any] = {"heads": 12, "kv_heads": 12, "dim": 64}


class DenseShape(Decode):
    """Size of a dense decode."""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.group > 64:  # rows of a tensor-core tile that fit the registers
            raise InputError(
                f"decode heads must be at most 64 times kv_heads, {self.heads} is not of "
                f"{self.kv_heads}"
            )


def parts(shape: Decode, target: str) -> tuple[int, int]:
    """Return parts of the keys, and keys of a part."""
    tile = BLOCK_N if shape.group > 1 else REPEAT * lines(2 * shape.dim)
    return cut(shape.kv_rows, shape.keys, tile, target, shape.parts)


class DenseDecode(Kernel):
    """Attention of one query; parts of the keys are read side by side and merged."""

    name: ClassVar[str] = "dense-decode"
    title: ClassVar[str] = "dense attention of one query"
    source: ClassVar[str] = "control; Dao, Haziza, Massa, Sizov, Flash-Decoding, 2023"
    torch_kernel: ClassVar[str] = "torch SDPA"
    promises: ClassVar = {
        "decode_vector": Promise(3, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "decode_group": Promise(
            2, {"sm_80": ("mma.sync", "cp.async"), "sm_90": ("mma.sync", "cp.async")}
        ),
        "merge_parts": Promise(4),
    }
    tests: ClassVar = {
        "ragged": DenseShape(batch=2, heads=2, kv_heads=2, keys=150, dim=64),
        "long part": DenseShape(heads=1, kv_heads=1, keys=330, dim=128, parts=2),
        "one part": DenseShape(heads=2, kv_heads=2, keys=300, dim=16, parts=1),
        "one key": DenseShape(heads=2, kv_heads=1, keys=1, dim=32),
        "group": DenseShape(batch=2, heads=6, kv_heads=2, keys=150, dim=32, parts=2),
        "one part of a group": DenseShape(heads=20, kv_heads=1, keys=70, dim=64, parts=1),
    }
    papers: ClassVar = {
        "gpt2-1024": DenseShape(keys=1024, **GPT2),
        "gpt2-medium-1024": DenseShape(heads=16, kv_heads=16, keys=1024, dim=64),
        "llama-2-7b-1024": DenseShape(keys=1024, **LLAMA),
        "llama-2-7b-4096": DenseShape(keys=4096, **LLAMA),
        "llama-2-7b-32768": DenseShape(keys=32_768, **LLAMA),
        "llama-2-70b-4096": DenseShape(heads=64, kv_heads=8, keys=4096, dim=128),
    }

    def inputs(self, shape: DenseShape, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        kv = (shape.batch, shape.kv_heads, shape.keys, shape.dim)
        return {
            "query": draw.normal(shape.batch, shape.heads, shape.dim),
            "key": draw.normal(*kv),
            "value": draw.normal(*kv),
        }

    def naive(self, shape: DenseShape, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.dense_decode.naive import attention

        return {"output": attention(inputs["query"], inputs["key"], inputs["value"])}

    def buffers(self, shape: DenseShape, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.launch import target_here

        return buffers(shape, parts(shape, target_here())[0], inputs["query"].device)

    def scalars(self, shape: DenseShape) -> dict[str, Value]:
        from algos.kernels.launch import target_here

        count, length = parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "keys": shape.keys,
            "length": length,
            "parts": count,
        }

    def programs(self, shape: DenseShape, target: str) -> list[Program]:
        count, length = parts(shape, target)
        seen = shape.kv_rows * -(-shape.keys // length) * length  # keys of all tiles
        plan = self._vector(shape, seen) if shape.group == 1 else self._group(shape, seen)
        constants, tile, stages, operations = plan
        step_bytes = 4 * tile * shape.dim  # a tile of K and of V
        return [
            Program(
                function="decode_vector" if shape.group == 1 else "decode_group",
                arguments={
                    "query": "*fp16",
                    "key": "*fp16",
                    "value": "*fp16",
                    "partial": partial_kind(count),
                    "lse": "*fp32",
                    "scale_log2": "fp32",
                    "keys": "i32",
                    "length": "i32",
                },
                constants={**constants, "DIM": shape.dim, "STAGES": stages},
                grid=(count, shape.kv_rows, 1),
                warps=WARPS,
                stages=stages,
                divisible=divisible(length=length),
                dram_bytes=self.count(shape).dram_bytes
                - (0 if count == 1 else 2 * shape.rows * shape.dim),
                l2_bytes=4 * shape.kv_rows * shape.keys * shape.dim
                + 2 * shape.rows * shape.dim * count
                + partial_bytes(shape, count),
                operations=operations,
                steps=length // tile,
                inflight_bytes=(stages - 1) * step_bytes,
                longest=length * count / shape.keys,
            ),
            *merge(shape, count, weighted=True),
        ]

    def _vector(
        self, shape: DenseShape, seen: int
    ) -> tuple[dict[str, Value], int, int, dict[str, float]]:
        rows, across = lines(2 * shape.dim), shape.dim // 8  # threads a row
        operations = {
            # of an element: K and V to float32, two multiply-adds, the sum of 8 among threads
            "fp32": seen * (6.0 + 1 / REPEAT) * shape.dim,
            "special": seen * across * (1 + 1 / REPEAT),
        }
        constants: dict[str, Value] = {"REPEAT": REPEAT, "ROWS": rows}
        return constants, REPEAT * rows, STAGES, operations

    def _group(
        self, shape: DenseShape, seen: int
    ) -> tuple[dict[str, Value], int, int, dict[str, float]]:
        block_m = max(16, power(shape.group))
        scores = float(seen * block_m)
        operations = {
            "tensor_fp16": 4.0 * scores * shape.dim,
            "special": scores,
            "fp32": 6.0 * scores,  # scale, maximum, difference, sum and its rescaling
        }
        constants: dict[str, Value] = {
            "GROUP": shape.group,
            "BLOCK_M": block_m,
            "BLOCK_N": BLOCK_N,
        }
        return constants, BLOCK_N, GROUP_STAGES, operations

    def torch_call(self, shape: DenseShape, inputs: Tensors) -> Callable[[], Tensor]:
        from algos.kernels.attention_library import attention_call

        return attention_call(inputs["query"][:, :, None], inputs["key"], inputs["value"], False)

    def count(self, shape: DenseShape) -> Count:
        elements = 2 * shape.rows * shape.dim + 2 * shape.kv_rows * shape.keys * shape.dim
        return Count(
            flops=4.0 * shape.rows * shape.keys * shape.dim,
            dram_bytes=2 * elements,
            unit="fp32" if shape.group == 1 else "tensor_fp16",
        )
