"""Every kernel against its naive twin, in Triton's interpreter."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from algos.kernels import KERNELS, make_kernel, numerics
from algos.kernels.numerics import compare, relative_error

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

CASES = [(name, case) for name in KERNELS for case in make_kernel(name).tests]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_kernel_equals_its_naive_twin(name: str, case: str) -> None:
    kernel = make_kernel(name)
    assert compare(kernel, kernel.tests[case], "cpu").broken == ""


@pytest.mark.parametrize("name", KERNELS)
def test_tensors_are_made_on_the_device_of_the_operands(name: str) -> None:
    """What names no device is made on "meta" here, and does not mix with operands of the CPU."""
    kernel = make_kernel(name)
    for shape in kernel.tests.values():
        with torch.device("meta"):
            inputs = kernel.inputs(shape, 0, "cpu")
            made = [inputs, kernel.buffers(shape, inputs), kernel.naive(shape, inputs)]
        found = {tensor.device.type for tensors in made for tensor in tensors.values()}
        assert found == {"cpu"}


@pytest.mark.parametrize(
    ("found", "wanted", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([3.0, 5.0], [3.0, 4.0], 0.2),
        ([[300.0, 400.0], [0.3, 0.5]], [[300.0, 400.0], [0.3, 0.4]], 0.2),  # a small row counts
        ([0.0], [0.0], 0.0),
        ([1.0, math.inf], [1.0, 1.0], math.inf),
    ],
)
def test_relative_error(found: Any, wanted: Any, error: float) -> None:
    numbers = (torch.tensor(part, dtype=torch.float64) for part in (found, wanted))
    assert relative_error(*numbers) == pytest.approx(error)
    assert math.isnan(relative_error(torch.tensor([math.nan, 0.0]), torch.tensor([1.0, 0.0])))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_a_wrong_result_is_told(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = make_kernel("dense-prefill")
    shape = next(iter(kernel.tests.values()))

    def wrong(*arguments: object) -> dict[str, torch.Tensor]:
        output = kernel.naive(shape, arguments[2])["output"]  # type: ignore[arg-type]
        output[0, 0, 0, 0] = value
        return {"output": output}

    monkeypatch.setattr(numerics, "run", wrong)
    assert "output must be within 0.002 of its naive twin" in compare(kernel, shape, "cpu").broken
