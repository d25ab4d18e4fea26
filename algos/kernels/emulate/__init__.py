"""Run CUDA C++ kernels on the host, for tests of their numbers without a GPU.

`g++` compiles the same `kernel.cu` against `cuda.h`, a twin of the part of CUDA that kernels use.
Threads of a block are fibers that change at barriers and warp instructions; blocks run in sequence.
It finds wrong numbers, deadlocks, reads of shared memory before it is written or before an
asynchronous copy is waited for, writes behind it, copies from beside the tensors, and, by other
orders of the threads, many races. It says nothing of time.

`mma_sparse` assumes the layout that `device.cuh` writes down: operands and sums as in the PTX ISA,
"Matrix Fragments for sparse mma.m16n8k64 with .u8 / .s8 integer type"; metadata, which the text
there leaves to a figure, as CUTLASS has them (layout E of CuTe's sparse 16x8x64 instructions, and
`reorder_meta` of its host tools). The layout itself did not run on hardware yet.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from algos.kernels.arguments import as_c
from algos.kernels.base import Kernel, Program
from algos.kernels.built import built, definitions, failed, source
from workloads.errors import InputError


def emulate(kernel: Kernel, program: Program, values: Sequence[Any], order: int = 0) -> None:
    """Run one function of a kernel's `.cu` file on tensors of the CPU.

    Args:
        kernel, program: what to run.
        values: of `Program.arguments`.
        order: seed of the order in which threads take turns; 0: by their number.

    Raises:
        InputError: no C++ compiler, or arguments that do not fit.
        RuntimeError: the kernel is wrong: threads wait for ever, write behind shared memory, or
            copy from beside the tensors.
    """
    arguments = as_c(kernel, program, values)
    pointers = [ctypes.addressof(value) for value in arguments]
    tensors = [value for value in values if hasattr(value, "data_ptr")]
    ranges = [part for one in tensors for part in (one.data_ptr(), one.nbytes)]
    told: bytes = _function(_library(kernel, program))(
        (ctypes.c_void_p * len(pointers))(*pointers),
        len(pointers),
        (ctypes.c_uint * 4)(*program.grid, 32 * program.warps),
        ctypes.c_size_t(program.shared_bytes),
        order,
        (ctypes.c_size_t * len(ranges))(*ranges),
        len(tensors),
    )
    if told:
        raise RuntimeError(f"{kernel.name}: {program.function}: {told.decode()}")


@lru_cache(maxsize=256)
def _function(library: Path) -> Any:
    function = ctypes.CDLL(str(library)).emulate_launch
    function.restype = ctypes.c_char_p
    return function


def _library(kernel: Kernel, program: Program) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise InputError("emulated CUDA C++ kernels must have a C++ compiler, g++ is missing")
    entry = str(Path(__file__).with_name("entry.cpp"))
    options = [
        "-std=c++20",
        "-O2",
        "-Wno-unknown-pragmas",
        "-DEMULATE=" + program.function,
        f'-DSOURCE="{source(kernel)}"',
        *definitions(program),
    ]

    def make(folder: Path) -> None:
        told = subprocess.run(
            [compiler, "-shared", "-fPIC", *options, "-o", str(folder / "kernel.so"), entry],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise failed(kernel, compiler, told.stderr)

    folder = built(f"{program.function}-host", kernel, [*options, compiler], make)
    return folder / "kernel.so"
