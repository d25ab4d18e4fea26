"""Dense linear layers in half precision: the controls of compressed ones.

They run `torch.matmul`, on a GPU its vendor's library. They have no programs of their own, so
nothing is compiled ahead of time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, KernelShape, Program, Tensors, Value
from algos.kernels.draw import Draw

if TYPE_CHECKING:
    from torch import Tensor


class Gemm(KernelShape):
    """Size of a product."""

    tokens: int = Field(16, ge=1, le=65_536)
    rows: int = Field(4_096, ge=1, le=262_144)
    inputs: int = Field(4_096, ge=1, le=65_536)


class DenseGemm(Kernel):
    """Product by torch's library."""

    name: ClassVar[str] = "dense-gemm"
    title: ClassVar[str] = "dense linear layer"
    source: ClassVar[str] = "control; torch.matmul"
    torch_kernel: ClassVar[str] = "torch"
    promises: ClassVar = {}
    tests: ClassVar = {"plain": Gemm(tokens=17, rows=33, inputs=100)}
    papers: ClassVar = {
        f"llama-2-7b-{layer}-{tokens}": Gemm(tokens=tokens, rows=rows, inputs=inputs)
        for layer, rows, inputs in (("qkvo", 4_096, 4_096), ("up", 11_008, 4_096))
        for tokens in (16, 32, 128)
    } | {"llama-2-7b-down-128": Gemm(tokens=128, rows=4_096, inputs=11_008)}

    def inputs(self, shape: Gemm, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        return {
            "activations": draw.normal(shape.tokens, shape.inputs),
            "weight": draw.normal(shape.rows, shape.inputs),
        }

    def naive(self, shape: Gemm, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.dense_gemm.naive import product

        return {"output": product(inputs["activations"], inputs["weight"])}

    def buffers(self, shape: Gemm, inputs: Tensors) -> dict[str, Tensor]:
        return {"output": inputs["weight"].new_empty(shape.tokens, shape.rows)}

    def scalars(self, shape: Gemm) -> dict[str, Value]:
        return {}

    def programs(self, shape: Gemm, target: str) -> list[Program]:
        return []

    def torch_call(self, shape: Gemm, inputs: Tensors) -> Callable[[], Tensor]:
        activations, weight = inputs["activations"], inputs["weight"].mT
        return lambda: activations @ weight

    def count(self, shape: Gemm) -> Count:
        numbers = shape.inputs * (shape.tokens + shape.rows) + shape.tokens * shape.rows
        return Count(flops=2.0 * shape.tokens * shape.rows * shape.inputs, dram_bytes=2 * numbers)


class DenseGemv(DenseGemm):
    """Product of few tokens by torch's library: it waits for the weights."""

    name: ClassVar[str] = "dense-gemv"
    title: ClassVar[str] = "dense linear layer, few tokens"
    tests: ClassVar = {"one": Gemm(tokens=1, rows=40, inputs=64)}
    papers: ClassVar = {
        f"llama-2-7b-{layer}-{tokens}": Gemm(tokens=tokens, rows=rows, inputs=inputs)
        for layer, rows, inputs in (
            ("qkvo", 4_096, 4_096),
            ("up", 11_008, 4_096),
            ("down", 4_096, 11_008),
        )
        for tokens in (1, 8)
    }
