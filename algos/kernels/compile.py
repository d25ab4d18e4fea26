"""Compile kernels ahead of time, without a GPU, and read their resources.

Triton compiles to a cubin with its own assembler and brings `cuobjdump`; CUDA C++ needs `nvcc`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from algos.kernels.base import Kernel, Program
from algos.kernels.launch import triton_function
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS


class MissingCompiler(InputError):
    """A compiler that is not installed: nothing can be said of the code."""


@dataclass(frozen=True)
class Compiled:
    """Resources of a compiled function."""

    registers: int
    """of a thread"""
    spilled_bytes: int
    """local memory of a thread: registers that did not fit, and arrays of variable index"""
    shared_bytes: int
    """of a block"""
    ptx: str


def compile_program(kernel: Kernel, program: Program, target: str) -> Compiled:
    """Compile one function for a target of `workloads.gpu_launch.TARGETS`.

    Raises:
        MissingCompiler: Triton or nvcc is not installed.
        InputError: an unknown target, or Triton in interpreter mode.
    """
    if target not in TARGETS:
        raise InputError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    if program.language == "cuda":
        from algos.kernels import cuda

        compiled: Compiled = cuda.compile_program(kernel, program, target)
        return compiled
    return _compile_triton(kernel, program, int(target.removeprefix("sm_")))


def _compile_triton(kernel: Kernel, program: Program, capability: int) -> Compiled:
    if find_spec("triton") is None:
        raise MissingCompiler(
            f"kernel {kernel.name} must have Triton, it is missing: pip install 'prunesim[gpu]'"
        )
    function = triton_function(kernel, program)
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if not isinstance(function, triton.JITFunction):
        raise InputError("TRITON_INTERPRET must be 0 or not set when kernels are compiled, it is 1")
    aligned = [["tt.divisibility", 16]]
    attributes = {
        (place,): aligned
        for place, (name, kind) in enumerate(program.arguments.items())
        if kind.startswith("*") or name in program.divisible
    }
    source = ASTSource(
        function,
        signature={**program.arguments, **dict.fromkeys(program.constants, "constexpr")},
        constexprs=dict(program.constants),
        attrs=attributes,
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": program.warps, "num_stages": program.stages},
    )
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    registers, local = resources(compiled.asm["cubin"], tool)
    return Compiled(registers, local, int(compiled.metadata.shared), compiled.asm["ptx"])


def resources(cubin: bytes, tool: Path) -> tuple[int, int]:
    """Return registers and local bytes of a thread, as `cuobjdump -res-usage` tells them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told: Any = subprocess.run(
            [str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", told.stdout)
    if found is None:
        raise InputError(f"cuobjdump must tell registers, it said {told.stdout.strip()!r}")
    return int(found[1]), max(int(found[2]), int(found[3]))
