"""What every GPU kernel is: shapes it takes, a naive twin, programs to compile, promises.

A kernel is a class without state. Its `Shape` refuses what it does not support, before anything is
launched. `programs` says what is compiled and launched for a shape; it needs neither Triton nor a
GPU, so tests, the compiler, the bench and the cost model all read the same description.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from workloads.config import Config
from workloads.gpu_launch import Launch

if TYPE_CHECKING:
    from torch import Tensor

Value = int | float | bool | str
Tensors = Mapping[str, Any]
"""name -> torch.Tensor"""
SMS = {"sm_80": 108, "sm_90": 132}
"""Streaming multiprocessors of an A100, and of an H100 or H200 (SXM; NVIDIA's white papers)"""
DIMS = (16, 32, 64, 128)
"""channels of a head that attention kernels support"""


@dataclass(frozen=True)
class Program:
    """One compiled function and how it is launched for a shape."""

    function: str
    """name in the kernel's `triton.py` or `kernel.cu`"""
    arguments: Mapping[str, str]
    """run-time arguments in order: name -> "*fp16", "*i8", "*i32", "*fp32", "i32", "fp32" ..."""
    constants: Mapping[str, Value]
    """compile-time arguments: tiles, flags"""
    grid: tuple[int, int, int]
    """thread blocks"""
    warps: int = 4
    """of a block"""
    stages: int = 2
    """of the software pipeline (Triton)"""
    divisible: tuple[str, ...] = ()
    """integer arguments that are multiples of 16; pointers always are"""
    language: Literal["triton", "cuda"] = "triton"
    shared_bytes: int = 0
    """dynamic shared memory of a block (CUDA C++)"""
    dram_bytes: int = 0
    l2_bytes: int = 0
    operations: Mapping[str, float] = field(default_factory=dict)
    steps: int = 1
    inflight_bytes: int = 0
    longest: float = 1.0
    """this and the five before: as in `workloads.gpu_launch.Launch`"""

    @property
    def blocks(self) -> int:
        """Thread blocks."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    def launch(self, registers: int, shared_bytes: int) -> Launch:
        """Return what the cost model reads, given the resources as compiled."""
        return Launch(
            kernel=self.function,
            blocks=self.blocks,
            warps=self.warps,
            registers=registers,
            shared_bytes=shared_bytes,
            dram_bytes=self.dram_bytes,
            l2_bytes=self.l2_bytes,
            operations=dict(self.operations),
            steps=self.steps,
            inflight_bytes=self.inflight_bytes,
            longest=self.longest,
        )


@dataclass(frozen=True)
class Promise:
    """What the compiled code of a function keeps at the paper shapes; never a spill."""

    blocks_per_sm: int
    """at least so many thread blocks are resident on a streaming multiprocessor"""
    instructions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """target -> texts that its PTX must hold, such as "mma.sync", "cp.async", "wgmma" """


@dataclass(frozen=True)
class Count:
    """What a shape asks for, whoever computes it: a bench states rates by this, not by tiles."""

    flops: float
    """2 a multiply-add that the shape needs; integer operations are counted alike"""
    dram_bytes: int
    """every operand read once, every result written once"""
    unit: Literal["tensor_fp16", "tensor_int8", "fp32"] = "tensor_fp16"
    """pipe whose ceiling `flops` are compared with"""


class Kernel(ABC):
    """Base of all kernels; see `algos.kernels.KERNELS` for the list."""

    name: ClassVar[str]
    title: ClassVar[str]
    """one line for tables"""
    source: ClassVar[str]
    """paper of the sparsity, and section"""
    dense: ClassVar[str | None] = None
    """name of the dense kernel that it must beat; None: it is a control"""
    sparsity: ClassVar[str] = ""
    """what `at_sparsity` varies, in words: "share of V rows left out"; empty: nothing"""
    torch_kernel: ClassVar[str] = ""
    """name of torch's own kernel for the same work, which `torch_call` calls; empty: none"""
    tolerance: ClassVar[float] = 2e-3
    """most error of a row against the naive twin in float64, see `numerics`; 0: equal"""
    promises: ClassVar[Mapping[str, Promise]]
    """function -> what it keeps"""
    tests: ClassVar[Mapping[str, Any]]
    """small shapes that Triton's interpreter runs in a second or two each"""
    papers: ClassVar[Mapping[str, Any]]
    """shapes of the papers, which are compiled, benched and modelled"""

    @abstractmethod
    def inputs(self, shape: Any, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        """Return random operands of a shape, the same ones for the same seed."""

    @abstractmethod
    def naive(self, shape: Any, inputs: Tensors) -> dict[str, Tensor]:
        """Return the results by plain torch in float64 (integers where the kernel is exact)."""

    @abstractmethod
    def programs(self, shape: Any, target: str) -> list[Program]:
        """Return what is launched for a shape, in order; nothing: a library computes it.

        Args:
            shape: one of `Shape`.
            target: of `workloads.gpu_launch.TARGETS`; the best tiles differ.
        """

    @abstractmethod
    def buffers(self, shape: Any, inputs: Tensors) -> dict[str, Tensor]:
        """Return tensors for results and for what programs hand to one another."""

    @abstractmethod
    def scalars(self, shape: Any) -> dict[str, Value]:
        """Return the run-time arguments that are no tensors."""

    @abstractmethod
    def count(self, shape: Any) -> Count:
        """Return the operations and bytes that a shape needs."""

    def at_sparsity(self, shape: Any, share: float) -> Any:
        """Return the shape with another share left out, 0 to below 1: nearest that there is."""
        raise NotImplementedError(f"{self.name} has no sparsity to vary")

    def dense_shape(self, shape: Any) -> Any:
        """Return the shape of `dense` that does the same work unpruned."""
        raise NotImplementedError(f"{self.name} has no dense control")

    def torch_call(self, shape: Any, inputs: Tensors) -> Callable[[], Tensor]:
        """Return a call of torch's own kernel, which returns the result.

        A bench times it beside this kernel, or in its place where it has no programs.
        """
        raise NotImplementedError(f"{self.name} has no kernel of torch beside it")

    @property
    def results(self) -> Sequence[str]:
        """Names of the buffers that are results, as `naive` returns them."""
        return ("output",)


def divisible(**numbers: int) -> tuple[str, ...]:
    """Return the names of the multiples of 16, for `Program.divisible`."""
    return tuple(name for name, number in numbers.items() if number % 16 == 0)


def scale_log2(dim: int) -> float:
    """Return 1 / sqrt(dim), the scale of attention scores, times log2(e), for exp2."""
    return math.log2(math.e) / math.sqrt(dim)


class KernelShape(Config):
    """Base of shapes: a frozen set of checked numbers.

    Raises:
        InputError: a shape that the kernel does not support, with the limit.
    """
