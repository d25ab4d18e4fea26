"""The dense control: precision is all it has."""

from __future__ import annotations

import numpy as np
import pytest

from algos.dense import Dense
from algos.harness import run_method
from workloads.errors import InputError
from workloads.models import LoadedModel

Sequences = list[list[int]]


def test_dense_bits(encoder: LoadedModel, sequences: Sequences) -> None:
    with pytest.raises(InputError, match=r"^Dense bits must be 2 to 16, or 32 for float, not 20$"):
        Dense(bits=20)
    exact = run_method(Dense(bits=32), encoder, sequences, workload="test").embeddings
    errors = [
        np.abs(run_method(Dense(bits=b), encoder, sequences, workload="t").embeddings - exact).max()
        for b in (4, 8, 12, 16)
    ]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < errors[0] / 100
