"""CUDA C++ kernels: compile with nvcc, launch through the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from algos.kernels.base import Kernel, Program
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.kernels.compile import Compiled


def compile_program(kernel: Kernel, program: Program, target: str) -> Compiled:
    """Compile one function of the kernel's `.cu` file for a target."""
    raise InputError(f"kernel {kernel.name} must be one of Triton, CUDA C++ is not supported yet")


def launch(kernel: Kernel, program: Program, values: Sequence[Any]) -> None:
    """Launch one function of the kernel's `.cu` file."""
    raise InputError(f"kernel {kernel.name} must be one of Triton, CUDA C++ is not supported yet")
