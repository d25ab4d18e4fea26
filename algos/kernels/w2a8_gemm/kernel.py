"""Linear layers of AccLLM's W2A8: 2:4 sparse 2-bit weights in groups of 64, 8-bit activations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, KernelShape, Program, Promise, Tensors, Value
from algos.kernels.draw import Draw
from algos.kernels.w2a8_gemm.pack import INPUTS, RECORD_WORDS, ROWS, pack
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from algos.kernels.dense_gemm.kernel import Gemm

BLOCKS = 128
"""blocks of a wave; an estimate: one on each multiprocessor of an A100 or H100"""
UNPACKING = 22
"""integer instructions of a lane for a fragment of a group: 4 lookups of codes and their tables"""


class W2a8(KernelShape):
    """Size of a product."""

    tokens: int = Field(16, ge=1, le=8_192)
    rows: int = Field(4_096, ge=32, le=262_144)
    inputs: int = Field(4_096, ge=INPUTS, le=65_536)

    def model_post_init(self, context: Any) -> None:
        for name, unit in (("rows", 32), ("inputs", INPUTS)):
            if getattr(self, name) % unit:
                raise InputError(
                    f"w2a8 {name} must be a multiple of {unit}, not {getattr(self, name)}"
                )

    @property
    def packed_bytes(self) -> int:
        """Bytes of the weights with scales and zero points."""
        return self.rows // ROWS * (self.inputs // INPUTS) * RECORD_WORDS * 4


class W2a8Few(W2a8):
    """Size of a product of few tokens."""

    tokens: int = Field(1, ge=1, le=8)


@dataclass(frozen=True)
class Tile:
    """How a block and its warps share a product; the names are those of `kernel.cu`."""

    m_tiles: int
    """16 rows each, of a warp"""
    n_tiles: int
    """8 tokens each, of a warp"""
    warps_m: int
    warps_n: int
    warps_k: int
    records: int
    """256 inputs each, of a stage"""
    stages: int
    loaded: int
    """tokens that are read: a power of 2"""

    @property
    def block_m(self) -> int:
        """Rows of a block."""
        return ROWS * self.m_tiles * self.warps_m

    @property
    def block_n(self) -> int:
        """Tokens of a block."""
        return 8 * self.n_tiles * self.warps_n

    @property
    def stage_bytes(self) -> int:
        """Bytes of a stage: records of weights, and activations."""
        record = self.block_m // ROWS * RECORD_WORDS * 4
        return self.records * (record + self.loaded * INPUTS)

    @property
    def shared_bytes(self) -> int:
        """Bytes of all stages, or of the sums that take their place at the end."""
        sums = 4 * self.warps_k * self.block_n * (self.block_m + 4)
        return max(self.stages * self.stage_bytes, sums)


def few_tile(shape: W2a8) -> Tile:
    """Return the tile for few tokens: warps share the inputs of 16 or 32 rows.

    More rows halve what blocks read of the activations, if there are blocks enough. Many blocks
    have few warps each, so that all are resident at once.
    """
    loaded = 1 << (shape.tokens - 1).bit_length()
    m_tiles = 2 if loaded == 8 and shape.rows // 32 >= BLOCKS else 1
    many = shape.rows // (ROWS * m_tiles) > 2 * BLOCKS
    return Tile(m_tiles, 1, 1, 1, 4 if many else 8, 4, 3 if many and loaded == 8 else 4, loaded)


def tile(shape: W2a8) -> Tile:
    """Return the tile for many tokens: as many of them as there are, up to 64 a block."""
    if shape.tokens <= 32:
        few, many = shape.tokens <= 16, shape.rows // 32 > 2 * BLOCKS
        warps_k, records = (4, 2) if many else (8, 4)
        return Tile(2, 2 if few else 4, 1, 1, warps_k, records, 4 if few else 3, 16 if few else 32)
    if shape.rows % 64 == 0 and shape.rows // 64 * -(-shape.tokens // 64) >= BLOCKS:
        return Tile(2, 8, 2, 1, 4, 2, 3, 64)
    return Tile(2, 4, 1, 2, 4, 2, 3, 64)


class W2a8Gemm(Kernel):
    """Product on sparse tensor cores: a group of 64 inputs an instruction.

    From the description of AccLLM: groups of 64 count inputs before pruning, scales are FP16, zero
    points have 2 bits and are subtracted from the kept codes, so pruned weights are 0; activations
    are symmetric, one scale a token. Quantising the activations is not part of it. That positions
    ascend in their quads is for `pack` to see to; it is not checked again.
    """

    name: ClassVar[str] = "w2a8-gemm"
    title: ClassVar[str] = "2:4 sparse 2-bit weights x 8-bit activations"
    source: ClassVar[str] = "AccLLM, arXiv:2505.03745: 2:4 pruning and W2A8 of linear layers"
    dense: ClassVar[str | None] = "dense-gemm"
    function: ClassVar[str] = "w2a8_gemm"
    promises: ClassVar = {
        "w2a8_gemm": Promise(
            blocks_per_sm=1,
            instructions=dict.fromkeys(("sm_80", "sm_90"), ("mma.sp", "cp.async")),
        )
    }
    tests: ClassVar = {
        "16-tokens": W2a8(tokens=13, rows=64, inputs=1_536),
        "32-tokens": W2a8(tokens=20, rows=32, inputs=512),
        "64-tokens": W2a8(tokens=67, rows=32, inputs=768),
        "wide": W2a8(tokens=33, rows=8_192, inputs=256),
    }
    papers: ClassVar = {
        f"llama-2-7b-{layer}-{tokens}": W2a8(tokens=tokens, rows=rows, inputs=inputs)
        for layer, rows, inputs in (("qkvo", 4_096, 4_096), ("up", 11_008, 4_096))
        for tokens in (16, 32, 128)
    } | {"llama-2-7b-down-128": W2a8(tokens=128, rows=4_096, inputs=11_008)}

    def tile(self, shape: Any) -> Tile:
        """Return how a block and its warps share the product."""
        return tile(shape)

    def inputs(self, shape: W2a8, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        import torch

        draw = Draw(seed, device)
        kept, groups = shape.inputs // 2, shape.inputs // 64
        first = draw.integers(shape.rows, kept // 2, low=0, high=2, dtype="int32")
        gap = draw.integers(shape.rows, kept // 2, low=0, high=2, dtype="int32") % (3 - first)
        positions = torch.stack([first, first + 1 + gap], -1).flatten(1).to(torch.uint8)
        packed = pack(
            draw.integers(shape.rows, kept, low=0, high=3, dtype="uint8"),
            positions,
            draw.uniform(shape.rows, groups, low=0.01, high=0.05),
            draw.integers(shape.rows, groups, low=0, high=3, dtype="uint8"),
        )
        return {
            "packed": packed,
            "activations": draw.integers(shape.tokens, shape.inputs, low=-127, high=127),
            "activation_scale": draw.uniform(shape.tokens, low=0.005, high=0.05, dtype="float32"),
        }

    def naive(self, shape: W2a8, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.w2a8_gemm.naive import product

        return {"output": product(**inputs)}

    def buffers(self, shape: W2a8, inputs: Tensors) -> dict[str, Tensor]:
        import torch

        size = (shape.tokens, shape.rows)
        return {"output": inputs["packed"].new_empty(size, dtype=torch.float16)}

    def scalars(self, shape: W2a8) -> dict[str, Value]:
        return {
            "tokens": shape.tokens,
            "rows": shape.rows,
            "records": shape.inputs // INPUTS,
        }

    def programs(self, shape: W2a8, target: str) -> list[Program]:
        size = self.tile(shape)
        columns, blocks = -(-shape.tokens // size.block_n), shape.rows // size.block_m
        fragments = shape.rows // ROWS * columns * (shape.inputs // 64)  # of weights, unpacked
        products = fragments * (size.block_n // 8)  # instructions of 16 x 8 x 64
        moved = columns * shape.packed_bytes + blocks * shape.tokens * shape.inputs
        return [
            Program(
                function=self.function,
                arguments={
                    "packed": "*i32",
                    "activations": "*i8",
                    "activation_scale": "*fp32",
                    "output": "*fp16",
                    "tokens": "i32",
                    "rows": "i32",
                    "records": "i32",
                },
                constants={name.upper(): value for name, value in asdict(size).items()},
                grid=(blocks, columns, 1),
                warps=size.warps_m * size.warps_n * size.warps_k,
                stages=size.stages,
                language="cuda",
                shared_bytes=size.shared_bytes,
                dram_bytes=self.count(shape).dram_bytes,
                l2_bytes=moved + (2 * shape.rows + 4 * blocks) * shape.tokens,
                operations={
                    # products of kept weights: the time of dense products of that many
                    "tensor_int8": 2.0 * products * 16 * 8 * 32,
                    "fp32": 3.0 * products * 16 * 8,  # to float; scale and add
                    "int32": 32.0 * UNPACKING * fragments * size.warps_n,
                },
                steps=-(-shape.inputs // (INPUTS * size.records)),
                inflight_bytes=(size.stages - 1) * size.stage_bytes,
            )
        ]

    def count(self, shape: W2a8) -> Count:
        other = shape.tokens * (shape.inputs + 4 + 2 * shape.rows)
        return Count(
            flops=2.0 * shape.tokens * shape.rows * (shape.inputs // 2),
            dram_bytes=shape.packed_bytes + other,
            unit="tensor_int8",
        )

    def dense_shape(self, shape: W2a8) -> Gemm:
        from algos.kernels.dense_gemm.kernel import Gemm

        return Gemm(tokens=shape.tokens, rows=shape.rows, inputs=shape.inputs)


class W2a8Gemv(W2a8Gemm):
    """Product of up to 8 tokens: it waits for the weights, which are read once."""

    name: ClassVar[str] = "w2a8-gemv"
    title: ClassVar[str] = "2:4 sparse 2-bit weights x few 8-bit activations"
    dense: ClassVar[str | None] = "dense-gemv"
    function: ClassVar[str] = "w2a8_gemv"
    promises: ClassVar = {
        "w2a8_gemv": Promise(
            blocks_per_sm=2,
            instructions=dict.fromkeys(("sm_80", "sm_90"), ("mma.sp", "cp.async")),
        )
    }
    tests: ClassVar = {
        "one": W2a8Few(tokens=1, rows=32, inputs=1_280),
        "three": W2a8Few(tokens=3, rows=64, inputs=256),
        "eight": W2a8Few(tokens=8, rows=32, inputs=5_376),
        "wide": W2a8Few(tokens=7, rows=4_096, inputs=256),
    }
    papers: ClassVar = {
        f"llama-2-7b-{layer}-{tokens}": W2a8Few(tokens=tokens, rows=rows, inputs=inputs)
        for layer, rows, inputs in (
            ("qkvo", 4_096, 4_096),
            ("up", 11_008, 4_096),
            ("down", 4_096, 11_008),
        )
        for tokens in (1, 8)
    }

    def tile(self, shape: Any) -> Tile:
        return few_tile(shape)
