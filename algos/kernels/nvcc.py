"""Compile CUDA C++ ahead of time, without a GPU, and read its resources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from algos.kernels.base import Kernel, Program
from algos.kernels.built import built, definitions, failed, source
from algos.kernels.compile import Compiled, MissingCompiler
from workloads.errors import InputError

USUAL = "/usr/local/cuda"
"""where NVIDIA's installer puts the toolkit"""
_RESOURCES = re.compile(
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers(?:.*?, (\d+) bytes smem)?",
    re.DOTALL,
)


def compiler() -> Path:
    """Return nvcc: of PATH, of CUDA_HOME, or where its installer puts it.

    Raises:
        MissingCompiler: it is in none of them.
    """
    homes = [os.environ.get("CUDA_HOME"), USUAL]
    places = [shutil.which("nvcc"), *(str(Path(home) / "bin" / "nvcc") for home in homes if home)]
    for place in places:
        if place and os.access(place, os.X_OK):
            return Path(place)
    raise MissingCompiler(
        "CUDA C++ kernels must have nvcc, it is neither on PATH, nor in CUDA_HOME, nor in "
        f"{USUAL}: install the CUDA toolkit"
    )


@lru_cache
def _version(nvcc: Path) -> str:
    return subprocess.run(
        [str(nvcc), "--version"], capture_output=True, text=True, check=True
    ).stdout


def release() -> str | None:
    """Return the version of nvcc; None: it is missing."""
    try:
        told = _version(compiler())
    except MissingCompiler:
        return None
    found = re.search(r"V(\d+\.\d+\.\d+)", told)
    return found[1] if found else None


def compiled_folder(kernel: Kernel, program: Program, target: str) -> Path:
    """Return a folder with `kernel.cubin`, `kernel.ptx` and `ptxas.txt`.

    Raises:
        MissingCompiler: no nvcc.
        InputError: code that does not compile.
    """
    nvcc = compiler()
    options = ["-std=c++17", "-O3", f"-arch={target}", *definitions(program)]

    def make(folder: Path) -> None:
        places = ["-keep", "-keep-dir", str(folder), "-o", str(folder / "kernel.cubin")]
        told = subprocess.run(
            [str(nvcc), "-cubin", "-Xptxas", "-v", *options, *places, str(source(kernel))],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise failed(kernel, "nvcc", told.stderr + told.stdout)
        (folder / "ptxas.txt").write_text(told.stderr)
        for path in folder.iterdir():  # what -keep leaves besides the PTX
            if path.name not in ("kernel.cubin", "kernel.ptx", "ptxas.txt"):
                path.unlink()

    return built(f"{program.function}-{target}", kernel, [*options, _version(nvcc)], make)


def compile_cuda(kernel: Kernel, program: Program, target: str) -> Compiled:
    """Compile one function of a kernel's `.cu` file and return its resources."""
    folder = compiled_folder(kernel, program, target)
    told = (folder / "ptxas.txt").read_text()
    found = _RESOURCES.search(told)
    if found is None:
        raise InputError(f"ptxas must tell registers, it said {told.strip()!r}")
    stack, stores, loads, registers, shared = (int(group or 0) for group in found.groups())
    return Compiled(
        registers=registers,
        spilled_bytes=max(stack, stores, loads),
        shared_bytes=shared + program.shared_bytes,
        ptx=(folder / "kernel.ptx").read_text(),
    )
