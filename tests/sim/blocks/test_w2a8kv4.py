"""The engine's golden model against weights in floating point, its cycles by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sim.blocks.mac_array import ArrayItem, MacArrayConfig, Operands, array_golden
from sim.blocks.packed_mac import BYTE, SPARSE
from sim.blocks.w2a8kv4 import (
    Linear,
    W2A8KV4EngineConfig,
    check_linear,
    linear_golden,
    linear_outputs,
)
from sim.blocks.w2a8kv4_stream import EngineStalls, Work, engine_moves
from workloads.errors import InputError
from workloads.packed import PackedMatrix, WeightFormat

SMALL = W2A8KV4EngineConfig(dsps=32, lines=4, pairs=2)


def drawn(tokens=1, rows=8, groups=3):
    random = np.random.default_rng(5)
    kept = groups * 32
    order = random.permuted(np.tile(np.arange(4), (rows, kept // 2, 1)), axis=2)
    return Linear(
        random.integers(-127, 128, (tokens, groups * 64)),
        random.integers(0, 4, (rows, kept)).astype(np.uint8),
        np.sort(order[..., :2], 2).reshape(rows, kept).astype(np.uint8),
        random.random((rows, groups)).astype(np.float16).view(np.uint16),
        random.integers(0, 4, (rows, groups)).astype(np.uint8),
    )


def test_sums_are_those_of_the_packed_weights():
    given = drawn(tokens=3)
    matrix = PackedMatrix(
        format=WeightFormat(),
        columns=192,
        codes=given.codes,
        positions=given.positions,
        scales=given.scales.view(np.float16),
        zeros=given.zeros,
    )
    exact = given.activations.astype(np.float64) @ matrix.weights().astype(np.float64).T
    assert np.array_equal(linear_golden(given) * 2.0**-24, exact)


def test_outputs_go_block_by_block_and_in_a_block_token_by_token():
    given = drawn(tokens=2)
    sums = linear_golden(given)
    assert linear_outputs(SMALL, given) == [
        sums[token, row : row + 2].tolist() for row in (0, 2, 4, 6) for token in (0, 1)
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"activations": np.zeros((1, 100))}, "q_proj: inputs must be a multiple of 64, not 100"),
        ({"codes": np.zeros((3, 96))}, "q_proj: rows must be a multiple of 2, not 3"),
        (
            {"activations": np.zeros((3, 192))},
            "q_proj: tokens must be 1 or an even number of at most 4, not 3",
        ),
        (
            {"activations": np.zeros((6, 192))},
            "q_proj: tokens must be 1 or an even number of at most 4, not 6",
        ),
        (
            {"activations": np.zeros((4, 192))},
            "q_proj: activations must be at most 4 lines of 64, not 6",
        ),
        (
            {"activations": np.full((1, 64), -128)},
            "q_proj: activations must be in -127..127, not 128",
        ),
    ],
)
def test_what_an_engine_refuses(change, sentence):
    given = Linear(**(drawn().__dict__ | change))
    with pytest.raises(InputError) as error:
        check_linear(SMALL, given, "q_proj")
    assert str(error.value) == sentence


def test_an_engine_takes_what_fits():
    check_linear(SMALL, drawn())
    check_linear(SMALL, drawn(tokens=4, groups=2))


def test_vectors_take_a_cycle_a_beat_from_row_to_row_and_command_to_command():
    works = [Work(False, 3, 2), Work(False, 1, 2)]
    moves = engine_moves(SMALL, works, EngineStalls())
    assert moves.commands == [0, 6]
    assert moves.weights == list(range(8))
    first = 1 + 2 + SMALL.latency_cycles  # the third step is that of cycle 3
    assert moves.outputs == [first, first + 3, first + 4, first + 5]
    assert sum(work.cycles for work in works) == 8


def test_matrices_take_two_cycles_a_pair():
    moves = engine_moves(SMALL, [Work(True, 2, 1, 2), Work(False, 1, 1)], EngineStalls())
    assert moves.weights == [0, 4, 8]
    assert moves.commands == [0, 8]
    first = 5 + SMALL.latency_cycles
    assert moves.outputs == [*range(first, first + 4), first + 4]


def test_a_command_waits_for_its_activations_and_sums_for_the_sink():
    moves = engine_moves(SMALL, [Work(False, 1, 2, loaded=7)], EngineStalls(ready=[False] * 30))
    assert moves.commands == [7]
    assert moves.weights == [0, 8]
    assert moves.outputs == [30, 31]


def test_latency_is_that_of_the_parts():
    assert SMALL.latency_cycles == 14
    assert (SMALL.units, SMALL.tree_levels) == (2, 4)


def test_an_array_is_its_dsps():
    config = MacArrayConfig(dsps=2)
    items = [
        ArrayItem(BYTE, [Operands(1, 2, 3), Operands(4, 5, 6)], last=False),
        ArrayItem(BYTE, [Operands(1, 1, 1), Operands(1, 1, 1)], first=False),
        ArrayItem(SPARSE, [Operands(1, 2, 3, 4), Operands(3, 0, -127, 127)]),
    ]
    assert array_golden(config, items) == [[(4, 7), (25, 31)], [(3, 8), (-381, 0)]]
