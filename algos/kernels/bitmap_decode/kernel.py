"""Decode over a KV cache whose elements are pruned one by one, stored with a bitmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value, scale_log2
from algos.kernels.decode.shape import (
    MOST_PARTS,
    SharedDecode,
    buffers,
    cut,
    merge,
    partial_bytes,
    power,
)
from algos.kernels.dense_decode.kernel import DenseShape
from algos.kernels.draw import Draw
from algos.kernels.launch import target_here
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

DIMS = (32, 64, 128)
WARPS = 4
RESIDENT = 4
"""blocks of a multiprocessor: 16 warps, each with a step of single loads in flight"""
ARGUMENTS = {
    "query": "*fp16",
    "key_bits": "*u8",
    "key_values": "*fp16",
    "value_bits": "*u8",
    "value_values": "*fp16",
    "window_key": "*fp16",
    "window_value": "*fp16",
    "partial": "*fp32",
    "lse": "*fp32",
    "scale_log2": "fp32",
    "keys": "i32",
    "length": "i32",
    "window": "i32",
}
BYTE_OPERATIONS = 11
"""integer operations on a byte of the bitmap: its ones (9) and those before it (2)"""
ELEMENT_OPERATIONS = 4
"""the same on a bit: shift, mask, test, next place"""


class BitmapShape(SharedDecode):
    """Size of a decode step over a packed cache; `keys` are the packed tokens."""

    window: int = Field(32, ge=1, le=128)
    """latest tokens, which are stored whole (the authors' programs: 32)"""
    kept: int = Field(64, ge=1)
    """elements of a row of K, and of V, that are left"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.dim not in DIMS:
            raise InputError(f"bitmap decode dim must be one of {DIMS}, not {self.dim}")
        if self.kept > self.dim:
            raise InputError(f"bitmap decode kept must be at most dim {self.dim}, not {self.kept}")

    @property
    def row_bytes(self) -> int:
        """Stored bytes of a token of K, or of V: its elements and its bitmap."""
        return 2 * self.kept + self.dim // 8


def _llama(keys: int, kept: int) -> BitmapShape:
    return BitmapShape(heads=32, kv_heads=32, keys=keys, dim=128, kept=kept)


class BitmapDecode(Kernel):
    """Mustafar's decode: what is loaded is compressed, what is computed is dense.

    Each token keeps as many elements, as the method prunes it, so rows need no pointers.
    """

    name: ClassVar[str] = "bitmap-decode"
    title: ClassVar[str] = "decode over K and V pruned element by element, stored with bitmaps"
    source: ClassVar[str] = "Joo et al., Mustafar, NeurIPS 2025, arXiv:2505.22913"
    dense: ClassVar[str | None] = "dense-decode"
    sparsity: ClassVar[str] = "share of the elements of each row of K and V left out"
    promises: ClassVar = {
        "bitmap_decode": Promise(blocks_per_sm=RESIDENT),
        "merge_parts": Promise(blocks_per_sm=2),
    }
    tests: ClassVar = {
        "half": BitmapShape(heads=2, kv_heads=2, keys=75, window=5, dim=32, kept=16, parts=2),
        "group": BitmapShape(heads=4, kv_heads=2, keys=40, window=3, dim=64, kept=19, parts=1),
        "one": BitmapShape(heads=1, kv_heads=1, keys=1, window=1, dim=32, kept=1),
        "all": BitmapShape(batch=2, heads=1, kv_heads=1, keys=33, window=8, dim=32, kept=32),
    }
    papers: ClassVar = {
        "llama-2-7b-1024-70": _llama(1024, 39),
        "llama-2-7b-4096-50": _llama(4096, 64),
        "llama-2-7b-4096-70": _llama(4096, 39),
        "llama-2-7b-32768-70": _llama(32_768, 39),
    }

    def inputs(self, shape: BitmapShape, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        rows = (shape.batch, shape.kv_heads)
        operands = {"query": draw.normal(shape.batch, shape.heads, shape.dim)}
        for name in ("key", "value"):
            bits, values = _packed(draw, (*rows, shape.keys, shape.dim), shape.kept)
            operands |= {f"{name}_bits": bits, f"{name}_values": values}
        for name in ("window_key", "window_value"):
            operands[name] = draw.normal(*rows, shape.window, shape.dim)
        return operands

    def naive(self, shape: BitmapShape, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.bitmap_decode.naive import decode

        return {"output": decode(inputs)}

    def buffers(self, shape: BitmapShape, inputs: Tensors) -> dict[str, Tensor]:
        return buffers(shape, _parts(shape, target_here())[0] + 1, inputs["query"].device)

    def scalars(self, shape: BitmapShape) -> dict[str, Value]:
        parts, length = _parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "keys": shape.keys,
            "length": length,
            "window": shape.window,
            "parts": parts + 1,
        }

    def programs(self, shape: BitmapShape, target: str) -> list[Program]:
        block_n = _rows(shape)
        parts, length = _parts(shape, target)
        window = 4 * shape.window * shape.dim  # bytes of K and V
        read = shape.kv_rows * (2 * shape.keys * shape.row_bytes + window)
        padded = -(-shape.keys // block_n) * block_n
        elements = 2.0 * shape.kv_rows * padded * shape.dim
        partial = partial_bytes(shape, parts + 1)
        query = 2 * shape.rows * shape.dim
        decode = Program(
            function="bitmap_decode",
            arguments=ARGUMENTS,
            constants={
                "GROUP": shape.group,
                "DIM": shape.dim,
                "KEPT": shape.kept,
                "BLOCK_N": block_n,
                "WINDOW": power(shape.window),
            },
            grid=(parts + 1, shape.kv_rows, 1),
            warps=WARPS,
            stages=1,
            dram_bytes=read + query,
            l2_bytes=read + query * (parts + 1) + partial,
            operations={
                "int32": elements * (ELEMENT_OPERATIONS + BYTE_OPERATIONS / 8),
                "fp32": elements * shape.group * 2.5,  # V is rescaled besides
                "special": 2.0 * shape.rows * padded,
            },
            steps=length // block_n,
            inflight_bytes=block_n * shape.row_bytes,
            longest=length * (parts + 1) / shape.keys,
        )
        return [decode, *merge(shape, parts + 1, weighted=True)]

    def count(self, shape: BitmapShape) -> Count:
        rows = shape.keys * shape.row_bytes + 2 * shape.window * shape.dim
        kept = shape.keys * shape.kept + shape.window * shape.dim
        return Count(
            flops=4.0 * shape.rows * kept,
            dram_bytes=2 * shape.kv_rows * rows + 4 * shape.rows * shape.dim,
            unit="fp32",
        )

    def at_sparsity(self, shape: BitmapShape, share: float) -> BitmapShape:
        return shape.override({"kept": max(1, round((1 - share) * shape.dim))})

    def dense_shape(self, shape: BitmapShape) -> DenseShape:
        return DenseShape(
            batch=shape.batch,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            keys=shape.keys + shape.window,
            dim=shape.dim,
        )


def _rows(shape: BitmapShape) -> int:
    """Return the tokens of a step: 32 elements of K a thread, as many loads in flight."""
    return 4096 // shape.dim // shape.group


def _parts(shape: BitmapShape, target: str) -> tuple[int, int]:
    """Return parts of the packed keys, one block beside them is the window's, and their length."""
    most = shape.parts or MOST_PARTS - 1
    return cut(shape.kv_rows, shape.keys, _rows(shape), target, most, RESIDENT)


def _packed(draw: Draw, size: tuple[int, ...], kept: int) -> tuple[Tensor, Tensor]:
    from algos.kernels.bitmap_decode.storage import pack

    return pack(draw.normal(*size), kept)
