"""Median and percentiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algos.kernels.spread import spread
from workloads.errors import InputError


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_equals_numpy(count: int) -> None:
    times = np.random.default_rng(count).lognormal(size=count)
    found = spread([*times])
    assert found.windows == count
    wanted = np.percentile(times, [10, 50, 90])
    assert [found.p10_ns, found.median_ns, found.p90_ns] == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("times", [[], [1.0, 0.0], [1.0, math.nan], [math.inf]])
def test_what_is_no_time(times: list[float]) -> None:
    with pytest.raises(InputError, match=r"^times must be positive numbers"):
        spread(times)
