"""From packed beats to groups, kept activations and dequantised sums: golden models and cycles."""

from __future__ import annotations

import numpy as np
import pytest

from sim.blocks.group_dequant import (
    Group,
    GroupDequantConfig,
    dequant_golden,
    scale_integer,
)
from sim.blocks.sparse_selector import Selection, select_golden
from sim.blocks.weight_unpacker import (
    UnpackerStalls,
    WeightUnpackerConfig,
    beat_kinds,
    unpack_golden,
    unpacker_moves,
)
from workloads.errors import InputError
from workloads.packed import BEAT_BITS, WeightFormat, superblock

TOKENS = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]], [[-1, -2, -3, -4], [-5, -6, -7, -8]]])
POSITIONS = [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("pair", "second", "kept"),
    [
        (False, False, [[1, 3], [6, 8]]),
        (False, True, [[1, 3], [6, 8]]),
        (True, False, [[1, -1], [6, -6]]),
        (True, True, [[3, -3], [8, -8]]),
    ],
)
def test_kept_activations_by_hand(pair, second, kept):
    assert select_golden(Selection(TOKENS, POSITIONS, pair, second)).tolist() == kept


def test_scales_are_exact():
    halves = np.arange(0x3C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    found = [scale_integer(bits) for bits in range(0x3C00)]
    assert found == (halves * 2.0**24).tolist()
    assert max(found) < 1 << 24


@pytest.mark.parametrize("bits", [0x3C00, 0x7C00, 0x7E00, 0x8000, 0xBC00])
def test_scales_that_are_refused(bits):
    with pytest.raises(InputError, match=r"^a scale must be an FP16 number from 0 to below 1, not"):
        scale_integer(bits)


def test_dequantised_sums_by_hand():
    one, half = 0x0001, 0x3800  # 2^-24 and 1/2
    groups = [
        Group(100, 10, one, 3, token=0, last=False),
        Group(5, 0, half, 0, token=1, last=False),
        Group(-7, -2, one, 1, token=0, first=False),
        Group(0, 1, half, 2, token=1, first=False),
    ]
    assert dequant_golden(groups) == [70 - 5, 5 * (1 << 23) - 2 * (1 << 23)]


def test_widths_of_a_group():
    config = GroupDequantConfig()
    assert (config.sum_bits, config.kept_bits) == (15, 13)  # 32 * 3 * 127 and 32 * 127
    assert GroupDequantConfig(inputs=4).kept_bits == 9


def test_the_default_is_the_format_of_packed_weights():
    config, form = WeightUnpackerConfig(), WeightFormat()
    assert config.beat_bits == BEAT_BITS
    assert config.group_bits == form.data_bits(form.group)
    assert config.metadata_bits == form.metadata_bits
    assert config.superblock == superblock(config.group_bits, config.metadata_bits) == 28
    assert (config.metadata_beats(28), config.data_beats) == (1, 7)


@pytest.mark.parametrize("beats", [1, 6, 7, 8, 28, 40])
def test_beats_are_those_of_the_format(beats):
    """A matrix of one row block has as many groups a row as data beats."""
    kinds = beat_kinds(WeightUnpackerConfig(), beats)
    assert len(kinds) == WeightFormat().matrix_beats(4, 64 * beats)
    assert sum(kinds) == beats


@pytest.mark.parametrize("groups", [1, 2])
def test_smaller_beats_have_the_same_share_of_metadata(groups):
    config = WeightUnpackerConfig(beat_bits=128 * groups)
    assert (config.metadata_beats(config.superblock), config.data_beats) == (1, 7)


def test_metadata_of_several_beats_meet_their_groups():
    config = WeightUnpackerConfig(beat_bits=64, group_bits=32, metadata_bits=19)
    assert (config.superblock, config.metadata_beats(10), config.data_beats) == (10, 3, 5)
    metadata = sum((number + 1) << (19 * number) for number in range(10))
    parts = [(metadata >> (64 * beat)) & (2**64 - 1) for beat in range(3)]
    first = [*parts, *range(100, 105)]
    items = unpack_golden(config, 6, [*first, 9 | 8 << 19, 7])
    assert [item.metadata for item in items] == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [9, 8]]
    assert [item.data for item in items] == [*([number, 0] for number in range(100, 105)), [7, 0]]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"beat_bits": 500},
            "WeightUnpacker beat_bits must be a multiple of group_bits (128), not 500",
        ),
        (
            {"beat_bits": 256, "group_bits": 16, "metadata_bits": 19},
            "WeightUnpacker superblock must be whole beats of 16 groups, not 175 groups",
        ),
    ],
)
def test_formats_that_are_refused(settings, sentence):
    with pytest.raises(InputError) as error:
        WeightUnpackerConfig(**settings)
    assert str(error.value) == sentence


def test_metadata_cost_a_cycle_and_do_not_wait_for_an_item():
    config = WeightUnpackerConfig()
    moves = unpacker_moves(config, [8, 1], UnpackerStalls())
    assert moves.requests == [0, 10]
    assert moves.beats == [*range(1, 11), 11, 12]
    assert moves.items == [*range(3, 10), 11, 13]
    late = unpacker_moves(config, [1, 1], UnpackerStalls(ready=[False] * 9))
    assert late.beats == [1, 2, 3, 9]  # metadata of the second although an item waits
    assert late.items == [9, 10]
