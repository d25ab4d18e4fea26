"""Every CUDA C++ kernel at the shapes of the papers, compiled: resources and instructions."""

from __future__ import annotations

import pytest

from algos.kernels import KERNELS, make_kernel, nvcc
from algos.kernels.compile import compile_program
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS, blocks_per_sm


def programs(name: str, target: str) -> list[tuple[str, int]]:
    kernel = make_kernel(name)
    return [
        (case, place)
        for case, shape in kernel.papers.items()
        for place, program in enumerate(kernel.programs(shape, target))
        if program.language == "cuda"
    ]


CASES = [
    (name, target, case, place)
    for name in KERNELS
    for target in TARGETS
    for case, place in programs(name, target)
]


@pytest.mark.parametrize(("name", "target", "case", "place"), CASES)
def test_a_compiled_function_keeps_its_promises(
    name: str, target: str, case: str, place: int
) -> None:
    try:
        nvcc.compiler()
    except InputError:
        pytest.skip("nvcc is not installed")
    kernel = make_kernel(name)
    program = kernel.programs(kernel.papers[case], target)[place]
    promise = kernel.promises[program.function]
    compiled = compile_program(kernel, program, target)
    assert compiled.spilled_bytes == 0
    resident = blocks_per_sm(
        TARGETS[target], program.warps, compiled.registers, compiled.shared_bytes
    )
    assert resident >= promise.blocks_per_sm
    for text in promise.instructions.get(target, ()):
        assert text in compiled.ptx
