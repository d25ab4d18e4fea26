"""The packed cache of Mustafar: its form, its limits, what its kernel says of itself."""

from __future__ import annotations

import pytest
import torch

from algos.kernels.bitmap_decode.kernel import BitmapDecode, BitmapShape
from algos.kernels.bitmap_decode.storage import pack, unpack
from workloads.errors import InputError


def test_a_row_keeps_its_largest_elements_in_the_order_of_channels() -> None:
    row = torch.tensor([[0.0, -3.0, 1.0, 2.0, 1.0, 0.5, 0.0, 4.0]])
    bits, values = pack(row, 4)
    assert bits.tolist() == [[0b10001110]]  # of the two ones the first
    assert values.tolist() == [[-3.0, 1.0, 2.0, 4.0]]


@pytest.mark.parametrize("kept", [1, 7, 16, 24])
def test_unpacking_gives_back_what_was_kept(kept: int) -> None:
    dense = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(kept))
    found = unpack(*pack(dense, kept))
    mask = found != 0
    assert (mask.sum(-1) == kept).all()
    assert torch.equal(found[mask], dense[mask])
    left = dense.abs().masked_fill(mask, 0).amax(-1)
    assert (dense.abs().masked_fill(~mask, torch.inf).amin(-1) >= left).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kept": 129}, "kept must be at most dim 128, not 129"),
        ({"dim": 16, "kept": 1}, r"dim must be one of \(32, 64, 128\), not 16"),
        ({"heads": 32, "kv_heads": 2}, "heads must be 1, 2, 4, 8 times kv_heads"),
        ({"window": 129}, "window"),
        ({"keys": 0}, "keys"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BitmapShape(**values)


def test_bytes_are_bits_elements_and_the_window() -> None:
    shape = BitmapShape(heads=4, kv_heads=2, keys=100, window=10, dim=64, kept=20)
    count = BitmapDecode().count(shape)
    of_key = 20 * 2 + 64 / 8
    assert count.dram_bytes == 2 * 2 * (100 * of_key + 10 * 64 * 2) + 2 * 4 * 64 * 2
    assert count.flops == 4 * 4 * (100 * 20 + 10 * 64)


def test_a_program_says_what_its_tiles_do() -> None:
    shape = BitmapShape(heads=2, kv_heads=2, keys=100, window=10, dim=64, kept=20, parts=2)
    decode, merge = BitmapDecode().programs(shape, "sm_90")
    assert decode.grid == (3, 2, 1)  # 64 and 36 packed keys, and the window
    assert decode.steps == 1
    assert decode.longest == pytest.approx(64 * 3 / 100)
    rows = 2 * (2 * 100 * 48 + 2 * 10 * 128)
    assert decode.dram_bytes == rows + 2 * 2 * 64
    assert decode.l2_bytes == rows + 3 * 2 * 2 * 64 + 2 * 3 * 65 * 4
    assert decode.operations["special"] == 2 * 2 * 128  # keys padded to tiles of 64
    assert merge.grid == (2, 1, 1)


def test_sparsity_sets_the_elements_of_a_row() -> None:
    kernel, shape = BitmapDecode(), BitmapShape(kept=64)
    assert [kernel.at_sparsity(shape, s).kept for s in (0, 0.5, 0.7, 0.999)] == [128, 64, 38, 1]
    assert kernel.dense_shape(shape).keys == shape.keys + shape.window
