"""Launch compiled CUDA C++ through the driver API, on torch's stream and context."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_uint, c_void_p
from functools import lru_cache
from typing import Any

from algos.kernels.arguments import as_c
from algos.kernels.base import Kernel, Program
from algos.kernels.nvcc import compiled_folder
from workloads.errors import InputError

MAX_DYNAMIC_SHARED = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES of cuda.h"""
PLAIN_SHARED_BYTES = 48 * 1024
"""a block has so many without asking"""


class Driver:
    """The few calls of `libcuda` that a launch needs; a failed one is told in a sentence."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._functions: dict[tuple[object, ...], tuple[c_void_p, c_void_p]] = {}

    def launch(
        self, kernel: Kernel, program: Program, values: Sequence[Any], place: tuple[int, str, int]
    ) -> None:
        """Launch one function.

        Args:
            kernel, program: what to compile, if it was not before.
            values: of `Program.arguments`, tensors on the device.
            place: number of the device, its target, and the stream's handle.
        """
        device, target, stream = place
        arguments = as_c(kernel, program, values)
        context, function = self._function(kernel, program, device, target)
        pointers = [ctypes.addressof(value) for value in arguments]
        self._call(kernel, "cuCtxSetCurrent", context)
        self._call(
            kernel,
            "cuLaunchKernel",
            function,
            *(c_uint(size) for size in (*program.grid, 32 * program.warps, 1, 1)),
            c_uint(program.shared_bytes),
            c_void_p(stream),
            (c_void_p * len(pointers))(*pointers),
            None,
        )

    def _function(
        self, kernel: Kernel, program: Program, device: int, target: str
    ) -> tuple[c_void_p, c_void_p]:
        """Return the primary context, which torch uses too, and the function loaded into it."""
        constants = tuple(program.constants.items())
        shared = program.shared_bytes
        key = (kernel.name, program.function, constants, program.warps, shared, device, target)
        if key not in self._functions:
            image = (compiled_folder(kernel, program, target) / "kernel.cubin").read_bytes()
            handle, context, module, function = c_int(), c_void_p(), c_void_p(), c_void_p()
            self._call(kernel, "cuDeviceGet", byref(handle), c_int(device))
            self._call(kernel, "cuDevicePrimaryCtxRetain", byref(context), handle)
            self._call(kernel, "cuCtxSetCurrent", context)
            self._call(kernel, "cuModuleLoadData", byref(module), c_char_p(image))
            name = c_char_p(program.function.encode())
            self._call(kernel, "cuModuleGetFunction", byref(function), module, name)
            if shared > PLAIN_SHARED_BYTES:
                attribute = c_int(MAX_DYNAMIC_SHARED)
                self._call(kernel, "cuFuncSetAttribute", function, attribute, c_int(shared))
            self._functions[key] = context, function
        return self._functions[key]

    def _call(self, kernel: Kernel, name: str, *arguments: Any) -> None:
        code = int(getattr(self._library, name)(*arguments))
        if code:
            text = c_char_p()
            self._library.cuGetErrorString(c_int(code), byref(text))
            reason = (text.value or b"unknown error").decode()
            raise InputError(f"kernel {kernel.name}: {name} must succeed, error {code}: {reason}")


@lru_cache(maxsize=1)
def driver() -> Driver:
    """Return the driver of this machine.

    Raises:
        InputError: no NVIDIA driver.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise InputError(
            "CUDA C++ kernels must have an NVIDIA driver, libcuda.so.1 is missing"
        ) from None
    driver = Driver(library)
    library.cuInit(c_uint(0))
    return driver
