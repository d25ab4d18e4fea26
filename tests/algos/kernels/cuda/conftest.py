"""A kernel of small functions, see `kernel.cu`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from algos.kernels.base import Count, Kernel, Program, Tensors, Value


class Probe(Kernel):
    """Functions for tests of the emulator, the compiler and the launch."""

    name = "probe"
    title = "small functions"
    source = "tests"
    tests: ClassVar = {}
    papers: ClassVar = {}

    def inputs(self, shape: Any, seed: int, device: str = "cpu") -> dict[str, Any]:
        return {}

    def naive(self, shape: Any, inputs: Tensors) -> dict[str, Any]:
        return {}

    def programs(self, shape: Any, target: str) -> list[Program]:
        return []

    def buffers(self, shape: Any, inputs: Tensors) -> dict[str, Any]:
        return {}

    def scalars(self, shape: Any) -> dict[str, Value]:
        return {}

    def count(self, shape: Any) -> Count:
        return Count(flops=0, dram_bytes=0)


@pytest.fixture
def probe() -> Kernel:
    return Probe()


@pytest.fixture
def program() -> Callable[..., Program]:
    """Return a maker of programs: name, kinds of its arguments, the rest."""

    def make(function: str, kinds: str, **rest: Any) -> Program:
        arguments = {f"x{place}": kind for place, kind in enumerate(kinds.split())}
        given = {"constants": {}, "grid": (1, 1, 1), "warps": 1, "language": "cuda", **rest}
        return Program(function=function, arguments=arguments, **given)

    return make


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "prunesim" / "kernels"


@pytest.fixture
def needs_gxx() -> None:
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")):
        pytest.skip("no C++ compiler")
