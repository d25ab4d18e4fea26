"""CUDA C++ kernels: compiled by nvcc, launched through the driver, or emulated on the host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from algos.kernels.base import Kernel, Program
from algos.kernels.compile import Compiled
from algos.kernels.launch import target_of
from workloads.errors import InputError


def compile_program(kernel: Kernel, program: Program, target: str) -> Compiled:
    """Compile one function of the kernel's `.cu` file for a target.

    Raises:
        MissingCompiler: no nvcc.
        InputError: code that does not compile.
    """
    from algos.kernels.nvcc import compile_cuda

    return compile_cuda(kernel, program, target)


def launch(kernel: Kernel, program: Program, values: Sequence[Any]) -> None:
    """Launch one function on the GPU of its tensors, or emulate it for tensors of the CPU.

    Raises:
        InputError: arguments that do not fit, tensors on several devices, tensors of the CPU
            without `TRITON_INTERPRET=1`, no compiler or driver, or what the driver tells.
    """
    devices = {value.device for value in values if hasattr(value, "device")}
    if len(devices) != 1:
        names = ", ".join(sorted(map(str, devices))) or "none"
        raise InputError(f"{kernel.name}: tensors must be on one device, they are on {names}")
    device = devices.pop()
    if device.type == "cuda":
        import torch

        from algos.kernels.driver import driver

        target = target_of(torch.cuda.get_device_capability(device))
        with torch.cuda.device(device):
            stream = torch.cuda.current_stream(device).cuda_stream
            number = torch.cuda.current_device()
            driver().launch(kernel, program, values, (number, target, stream))
    elif os.environ.get("TRITON_INTERPRET") == "1":
        from algos.kernels.emulate import emulate

        emulate(kernel, program, values)
    else:
        raise InputError(
            f"kernel {kernel.name} must have tensors on a GPU, or TRITON_INTERPRET=1 to be "
            f"emulated, they are on {device}"
        )
