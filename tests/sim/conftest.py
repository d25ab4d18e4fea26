"""Small traces for the machines."""

import dataclasses

import pytest

from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace

TINY = ModelShape(
    name="tiny",
    layers=3,
    heads=4,
    kv_heads=4,
    head_dim=32,
    hidden=128,
    intermediate=512,
    source="test",
)

PRUNED = {
    "token_keep": [1.0, 0.8, 0.5],
    "head_keep": [1.0, 1.0, 0.5],
    "value_keep": 0.4,
    "requant_share": 0.2,
    "k_bits": 8,
    "k_lsb_bits": 4,
    "v_bits": 8,
}


@pytest.fixture(scope="session")
def make_trace():
    """Return a function that makes a trace of the tiny shape; keywords as `shape_trace`."""

    def make(tokens=24, shape=TINY, **settings):
        return shape_trace(shape, tokens, **settings)

    return make


@pytest.fixture(scope="session")
def dense_trace(make_trace):
    return make_trace()


@pytest.fixture(scope="session")
def pruned_trace(make_trace):
    return make_trace(sequences=2, generate=3, **PRUNED)


@pytest.fixture(scope="session")
def wide_trace(make_trace):
    """Return a pruned trace of 64-wide heads, the only ones that every machine runs."""
    shape = dataclasses.replace(TINY, head_dim=64, hidden=256)
    return make_trace(shape=shape, sequences=2, generate=3, **PRUNED)
