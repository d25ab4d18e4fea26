"""Launches through a fake driver that writes down what it is asked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from algos.kernels import cuda, driver
from algos.kernels.base import Kernel, Program
from algos.kernels.driver import Driver
from workloads.errors import InputError

Make = Callable[..., Program]
PLACE = (0, "sm_90", 77)
LOADING = (
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuModuleLoadData",
    "cuModuleGetFunction",
)
FUNCTIONS = (*LOADING, "cuFuncSetAttribute", "cuLaunchKernel")


class FakeLibrary:
    """Every call succeeds, but the one named `failing`."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Callable[..., int]:
        assert name in FUNCTIONS, name

        def call(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cuLaunchKernel":
                self.read(arguments)
            return 209 if name == self.failing else 0

        return call

    def cuGetErrorString(self, code: ctypes.c_int, text: Any) -> int:
        assert code.value == 209
        text._obj.value = b"no kernel image is available"
        return 0

    def read(self, arguments: tuple[Any, ...]) -> None:
        self.sizes = [size.value for size in arguments[1:8]]
        self.stream = arguments[8].value
        pointers = arguments[9]
        kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_int32)
        self.values = [
            kind.from_address(at).value for kind, at in zip(kinds, pointers, strict=True)
        ]

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for nvcc; returns the targets that were asked for."""
    (tmp_path / "kernel.cubin").write_bytes(b"\x7fELF\0code")
    targets: list[str] = []

    def folder(kernel: Kernel, program: Program, target: str) -> Path:
        targets.append(target)
        return tmp_path

    monkeypatch.setattr(driver, "compiled_folder", folder)
    return targets


def scaled(program: Make, **rest: Any) -> Program:
    kinds = "*fp32 *fp32 fp32 i32"
    return program("probe_scaled", kinds, constants={"BIAS": 0.5}, grid=(3, 2, 1), **rest)


VALUES = [torch.zeros(8), torch.zeros(8), 1.5, -3]


def test_a_launch_says_all_that_was_asked(
    probe: Kernel, program: Make, compiled: list[str]
) -> None:
    library = FakeLibrary()
    Driver(library).launch(probe, scaled(program, warps=4, shared_bytes=512), VALUES, PLACE)
    assert library.names() == [*LOADING, "cuCtxSetCurrent", "cuLaunchKernel"]
    assert library.sizes == [3, 2, 1, 128, 1, 1, 512]
    assert library.stream == 77
    assert library.values == [VALUES[0].data_ptr(), VALUES[1].data_ptr(), 1.5, -3]
    calls = dict(library.calls)
    assert calls["cuModuleLoadData"][1].value.startswith(b"\x7fELF")
    assert calls["cuModuleGetFunction"][2].value == b"probe_scaled"
    assert compiled == ["sm_90"]


def test_a_function_is_loaded_once(probe: Kernel, program: Make, compiled: list[str]) -> None:
    library = FakeLibrary()
    launcher = Driver(library)
    for _ in range(3):
        launcher.launch(probe, scaled(program), VALUES, PLACE)
    assert library.names().count("cuModuleLoadData") == 1
    assert library.names().count("cuLaunchKernel") == 3
    launcher.launch(probe, scaled(program, warps=8), VALUES, PLACE)
    launcher.launch(probe, scaled(program), VALUES, (1, "sm_90", 0))
    assert library.names().count("cuModuleLoadData") == 3
    assert len(compiled) == 3


@pytest.mark.parametrize(("shared", "asked"), [(48 * 1024, False), (48 * 1024 + 16, True)])
def test_much_shared_memory_is_asked_for(
    probe: Kernel, program: Make, compiled: list[str], shared: int, asked: bool
) -> None:
    library = FakeLibrary()
    Driver(library).launch(probe, scaled(program, shared_bytes=shared), VALUES, PLACE)
    assert ("cuFuncSetAttribute" in library.names()) == asked
    if asked:
        _, attribute, value = dict(library.calls)["cuFuncSetAttribute"]
        assert (attribute.value, value.value) == (8, shared)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_the_driver_refuses_is_told(
    probe: Kernel, program: Make, compiled: list[str], name: str
) -> None:
    wanted = f"kernel probe: {name} must succeed, error 209: no kernel image is available"
    with pytest.raises(InputError, match=wanted):
        Driver(FakeLibrary(name)).launch(
            probe, scaled(program, shared_bytes=64 * 1024), VALUES, PLACE
        )


def test_arguments_are_checked_before_anything_is_called(
    probe: Kernel, program: Make, compiled: list[str]
) -> None:
    library = FakeLibrary()
    with pytest.raises(InputError, match="x1 must be a tensor of float32, not int32"):
        Driver(library).launch(probe, scaled(program), [VALUES[0], VALUES[0].int(), 1.0, 1], PLACE)
    assert not library.calls


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    driver.driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(InputError, match=r"must have an NVIDIA driver, libcuda.so.1 is missing"):
        driver.driver()


def test_tensors_must_be_on_one_gpu_or_emulated(
    probe: Kernel, program: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(InputError, match="must have tensors on a GPU, or TRITON_INTERPRET=1"):
        cuda.launch(probe, scaled(program), VALUES)
    elsewhere = [VALUES[0].to("meta"), *VALUES[1:]]
    with pytest.raises(InputError, match="tensors must be on one device, they are on cpu, meta"):
        cuda.launch(probe, scaled(program), elsewhere)
