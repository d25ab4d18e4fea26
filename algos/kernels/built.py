"""Where compiled code is kept: one file for each source, constants and compiler, made once."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from algos.kernels.base import Kernel, Program
from workloads.errors import InputError

HERE = Path(__file__).parent
SUFFIXES = (".cu", ".cuh", ".h", ".cpp")


def source(kernel: Kernel) -> Path:
    """Return the CUDA C++ file of a kernel: `kernel.cu` beside its class."""
    return Path(inspect.getfile(type(kernel))).parent / "kernel.cu"


def definitions(program: Program) -> list[str]:
    """Return the compiler's options that select a function and set its constants.

    A file with several functions compiles only the one named by `FUNCTION_name`.
    """
    values: dict[str, object] = {f"FUNCTION_{program.function}": 1, **program.constants}
    values |= {"WARPS": program.warps, "SHARED_BYTES": program.shared_bytes}
    return [f"-I{HERE}", *(f"-D{name}={_literal(value)}" for name, value in values.items())]


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value!r}f" if isinstance(value, float) else str(value)


def built(kind: str, kernel: Kernel, parts: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` filled for these parts, now or earlier.

    Args:
        kind: first word of the folder's name.
        kernel: whose source is compiled.
        parts: what the result depends on besides sources: options, the compiler.
        make: fills an empty folder; its failure leaves nothing behind.
    """
    text = json.dumps([_sources(), source(kernel).read_text(), *parts])
    folder = cache() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    if folder.is_dir():
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".making-") as place:
        fresh = Path(place) / kind
        fresh.mkdir()
        make(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    return folder


def cache() -> Path:
    """Return the user's folder of compiled kernels; it can be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunesim" / "kernels"


@lru_cache(maxsize=1)
def _sources() -> str:
    """Return a digest of all CUDA C++ of this package: kernels include one another."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        if path.suffix in SUFFIXES:
            digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def failed(kernel: Kernel, compiler: str, told: str) -> InputError:
    """Return the error of code that does not compile: the first lines with an error."""
    lines = [line for line in told.splitlines() if "error" in line] or told.splitlines()[-1:]
    return InputError(
        f"kernel {kernel.name} must compile, {compiler} refuses it: {'; '.join(lines[:3])}"
    )
