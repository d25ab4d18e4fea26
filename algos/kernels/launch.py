"""Run a kernel: on a GPU, or on the CPU in Triton's interpreter (`TRITON_INTERPRET=1`)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from algos.kernels.base import Kernel, Program, Tensors
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS

if TYPE_CHECKING:
    from torch import Tensor


def run(kernel: Kernel, shape: Any, inputs: Tensors) -> dict[str, Tensor]:
    """Return the results of a kernel on operands of a shape.

    Raises:
        InputError: Triton is not installed, or operands that are not of the shape.
    """
    check_operands(kernel, shape, inputs)
    if not kernel.programs(shape, target_here()):
        return {kernel.results[0]: kernel.torch_call(shape, inputs)()}
    buffers = kernel.buffers(shape, inputs)
    launch(kernel, shape, inputs, buffers)
    return {name: buffers[name] for name in kernel.results}


def launch(kernel: Kernel, shape: Any, inputs: Tensors, buffers: Tensors) -> None:
    """Launch the programs of a kernel, one after another; results are in `buffers`."""
    known = {**inputs, **buffers, **kernel.scalars(shape)}
    for program in kernel.programs(shape, target_here()):
        values = [known[name] for name in program.arguments]
        if program.language == "cuda":
            from algos.kernels import cuda

            cuda.launch(kernel, program, values)
        else:
            triton_function(kernel, program)[program.grid](
                *values,
                **program.constants,
                num_warps=program.warps,
                num_stages=program.stages,
            )


def target_here() -> str:
    """Return the target of the first GPU; without one, where the interpreter runs, the newest.

    Raises:
        InputError: a GPU that kernels are not compiled for.
    """
    import torch

    if not torch.cuda.is_available():
        return "sm_90"
    return target_of(torch.cuda.get_device_capability())


def target_of(capability: tuple[int, int]) -> str:
    """Return the target whose code a GPU runs: 8.6 and 8.9 run that of 8.0.

    These two have less shared memory; a kernel that needs more fails there, and the error says so.

    Raises:
        InputError: neither 8.x nor 9.x.
    """
    target = f"sm_{capability[0]}0"
    if target not in TARGETS:
        wanted = ", ".join(TARGETS)
        raise InputError(f"kernels must run on a GPU of {wanted}, this is of {target}")
    return target


def check_operands(kernel: Kernel, shape: Any, inputs: Tensors) -> None:
    """Raise InputError unless operands have the names, sizes and types that the shape wants.

    The reference is `Kernel.inputs` on torch's meta device: nothing is computed.
    """
    wanted = kernel.inputs(shape, 0, "meta")
    if set(wanted) != set(inputs):
        raise InputError(
            f"{kernel.name} must have operands {', '.join(wanted)}, not {', '.join(inputs)}"
        )
    for name, reference in wanted.items():
        given = inputs[name]
        if given.shape != reference.shape or given.dtype != reference.dtype:
            raise InputError(
                f"{kernel.name}: operand {name} must be {tuple(reference.shape)} of "
                f"{reference.dtype}, not {tuple(given.shape)} of {given.dtype}"
            )
        if not given.is_contiguous():
            raise InputError(f"{kernel.name}: operand {name} must be contiguous, it is not")


def triton_function(kernel: Kernel, program: Program) -> Any:
    """Return a function of the kernel's `triton.py`.

    Raises:
        InputError: Triton is not installed.
    """
    if find_spec("triton") is None:
        raise InputError(
            f"kernel {kernel.name} must have Triton, it is missing: pip install 'prunesim[gpu]'"
        )
    folder = type(kernel).__module__.rpartition(".")[0]
    return getattr(import_module(f"{folder}.triton"), program.function)
