"""The tiny decoder's weights as they are stored: size to the bit, and what comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from algos.compress import Compression, compress
from algos.ladder import bits_per_weight
from algos.packed_model import load_packed, save_packed
from tests.algos.decoders import random_tokens
from workloads.models import load_decoder
from workloads.packed import PackedMatrix, WeightFormat, pack

Layers = dict[str, PackedMatrix]


@pytest.fixture(scope="module", params=["position", "pattern"])
def layers(request: pytest.FixtureRequest) -> Layers:
    """All layers of the tiny decoder in 2 bits."""
    how = Compression(prune="magnitude", weights=WeightFormat(index=request.param))
    return compress(load_decoder().model, random_tokens(1, 8), how)


@pytest.mark.model
def test_bytes_are_within_1_percent_of_the_bits_of_the_format(layers: Layers) -> None:
    weights = stored = bits = 0
    for matrix in layers.values():
        weights += matrix.rows * matrix.columns
        stored += pack(matrix).nbytes
        bits += matrix.format.matrix_bits(matrix.rows, matrix.columns)
    assert len(layers) == 6 * 7
    index_bits = {"position": 4, "pattern": 3}[next(iter(layers.values())).format.index]
    by_hand = (16 * (2 * 2 + index_bits) + 16 + 2) / 64  # of a group: 16 quads, scale, zero
    assert bits / weights == by_hand
    assert bits <= 8 * stored <= 1.01 * bits
    assert bits_per_weight(layers) == 8 * stored / weights


@pytest.mark.model
def test_files_give_back_every_number(layers: Layers, tmp_path: Path) -> None:
    save_packed(tmp_path, "tiny-decoder", layers)
    again = load_packed(tmp_path)
    assert again.keys() == layers.keys()
    for name, matrix in layers.items():
        for field in dataclasses.fields(PackedMatrix):
            before, after = getattr(matrix, field.name), getattr(again[name], field.name)
            assert (
                np.array_equal(before, after)
                if field.name not in ("format", "columns")
                else before == after
            ), (name, field.name)
