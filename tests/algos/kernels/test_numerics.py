"""Every kernel against its naive twin, in Triton's interpreter."""

from __future__ import annotations

import math
from importlib.util import find_spec

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


@pytest.mark.parametrize(
    ("found", "wanted", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 3.0], [1.0, 4.0], 0.25),
        ([0.0], [0.0], 0.0),
        ([1.0, math.inf], [1.0, 1.0], math.inf),
    ],
)
def test_relative_error(found: list[float], wanted: list[float], error: float) -> None:
    assert relative_error(torch.tensor(found), torch.tensor(wanted)) == error
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
