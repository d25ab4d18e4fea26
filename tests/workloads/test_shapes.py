"""Model shapes: consistent, and equal to the published sizes."""

from __future__ import annotations

import dataclasses

import pytest

from workloads.shapes import SHAPES, ModelShape


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_shape_is_consistent(shape: ModelShape) -> None:
    assert SHAPES[shape.name] is shape
    assert shape.heads * shape.head_dim == shape.hidden
    assert shape.heads % shape.kv_heads == 0
    assert shape.source


@pytest.mark.parametrize(
    ("name", "millions"),
    [  # weights of the blocks alone, embeddings and biases left out
        ("bert-base", 85),
        ("bert-large", 302),
        ("gpt2-small", 85),
        ("gpt2-medium", 302),
        ("deit-small", 21),
        ("llama-2-7b", 6476),
    ],
)
def test_weights_of_the_blocks(name: str, millions: int) -> None:
    shape = SHAPES[name]
    width = shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    feed_forward = (3 if shape.gated else 2) * shape.intermediate
    weights = shape.layers * shape.hidden * (width + feed_forward)
    assert weights / 1e6 == pytest.approx(millions, abs=0.7)


def test_shape_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SHAPES["bert-base"].layers = 3  # type: ignore[misc]
