"""Every kernel against its naive twin, in Triton's interpreter."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from algos.kernels import KERNELS, make_kernel
from algos.kernels.base import Kernel
from algos.kernels.launch import run

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

CASES = [(name, case) for name in KERNELS for case in make_kernel(name).tests]


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference over the largest value."""
    assert found.shape == wanted.shape
    difference = (found.double() - wanted.double()).abs().max()
    return float(difference / wanted.double().abs().max().clamp_min(1e-30))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_kernel_equals_its_naive_twin(name: str, case: str) -> None:
    kernel: Kernel = make_kernel(name)
    shape = kernel.tests[case]
    inputs = kernel.inputs(shape, seed=1)
    found, wanted = run(kernel, shape, inputs), kernel.naive(shape, inputs)
    assert set(found) == set(wanted) == set(kernel.results)
    for result in kernel.results:
        if kernel.tolerance == 0:
            assert torch.equal(found[result], wanted[result].to(found[result].dtype)), result
        else:
            assert torch.isfinite(found[result]).all(), result
            assert error(found[result], wanted[result]) < kernel.tolerance, result
