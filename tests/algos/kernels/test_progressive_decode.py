"""Progressive quantisation: who is recomputed, what is not read, limits, what it counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algos.kernels.dense_decode.naive import scores
from algos.kernels.launch import run
from algos.kernels.nibbles.words import pack, unpack
from algos.kernels.progressive_decode.kernel import ProgressiveDecode
from algos.kernels.progressive_decode.naive import codes_of
from algos.kernels.progressive_decode.shape import Progressive
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = ProgressiveDecode()


@given(st.lists(st.integers(0, 15), min_size=8, max_size=8))
def test_words_hold_eight_codes(codes: list[int]) -> None:
    word = pack(torch.tensor([codes]))
    assert word.shape == (1, 1)
    assert int(word) % 2**32 == sum(code << 4 * place for place, code in enumerate(codes))
    assert unpack(word).tolist() == [codes]


def test_it_counts_what_a_llama_layer_needs() -> None:
    shape = Progressive(heads=32, kv_heads=32, keys=4096, dim=128, share=0.0625)
    assert shape.unsure == [0, 16]
    count = KERNEL.count(shape)
    assert count.flops == (4 * 32 + 2 * 2) * 4096 * 128
    planes = 32 * 4096 * (128 + 128) + 2 * 4096 * 64
    assert count.dram_bytes == planes + 2 * 32 * 128 * 2 + 2 * 32 * 4 + 32 * 4
    programs = KERNEL.programs(shape, "sm_90")
    assert sum(program.dram_bytes for program in programs) == count.dram_bytes
    score, fetch, merge = programs
    assert score.grid == fetch.grid == (8, 32, 1)
    assert (score.steps, fetch.steps) == (8, 16)  # 512 keys, 64 and 32 a step
    assert score.l2_bytes == 32 * (4096 * (128 + 4) + 8 * 256 + 8 * 8 + 8 * 4)
    read = 4096 * (128 + 4) + 8 * 8 * 8 + 4 + 8 * 8
    assert fetch.l2_bytes == 32 * (read + 8 * (512 + 4)) + 2 * (4096 * 64 + 8 * 256)
    assert merge.grid == (32, 1, 1)


def test_four_bits_halve_the_first_plane() -> None:
    eight, four = (Progressive(share=0, msb_bits=bits) for bits in (8, 4))
    saved = KERNEL.count(eight).dram_bytes - KERNEL.count(four).dram_bytes
    assert saved == 32 * 4096 * 64


def test_heads_of_a_group_fetch_low_bits_once() -> None:
    shape = Progressive(heads=8, kv_heads=2, keys=1024, dim=64, share=0.5)
    assert shape.unsure == [0, 2, 4, 6]
    assert shape.low_bytes == 2 * 1024 * 32


def test_sparsity_is_the_share_of_heads_without_low_bits() -> None:
    shape = KERNEL.at_sparsity(Progressive(), 0.75)
    assert len(shape.unsure) == 8
    assert KERNEL.dense_shape(shape).keys == 4096


@pytest.mark.parametrize("case", list(KERNEL.tests))
def test_the_operands_are_clearly_sure_or_not(case: str) -> None:
    shape = KERNEL.tests[case]
    inputs = KERNEL.inputs(shape, seed=1)
    coarse, _ = codes_of(inputs["msb"], inputs["lsb"], shape.msb_bits)
    key = coarse * inputs["key_scale"][..., None, None].double()
    largest = scores(inputs["query"], key).softmax(-1).amax(-1).flatten()
    unsure = torch.zeros(shape.rows, dtype=torch.bool)
    unsure[shape.unsure] = True
    assert (largest[unsure] < 0.9 * shape.threshold).all()
    assert (largest[~unsure] > 1.1 * shape.threshold).all()


@needs_triton
@pytest.mark.parametrize("bits", [4, 8])
def test_low_bits_move_the_result_of_unsure_heads(bits: int) -> None:
    shape = Progressive(heads=4, kv_heads=4, keys=200, dim=64, msb_bits=bits, share=1)
    inputs = KERNEL.inputs(shape, seed=2)
    found = run(KERNEL, shape, inputs)
    wanted = KERNEL.naive(shape, inputs)["output"]
    coarse = KERNEL.naive(shape.override({"threshold": 1e-9, "share": 0}), inputs)["output"]
    distance = (found["output"].double() - wanted).abs().mean()
    assert found["recomputed"].all()
    assert distance < 0.5 * (coarse - wanted).abs().mean()


@needs_triton
def test_a_sure_head_of_an_unsure_group_is_not_recomputed() -> None:
    shape = Progressive(heads=2, kv_heads=1, keys=200, dim=64, msb_bits=4, share=1)
    inputs = KERNEL.inputs(shape, seed=5)
    inputs["query"][0, 1] *= 4
    coarse, _ = codes_of(inputs["msb"], inputs["lsb"], 4)
    key = coarse * inputs["key_scale"][..., None, None].double()
    first, second = scores(inputs["query"], key).softmax(-1).amax(-1).flatten().tolist()
    assert first < 0.5 * second < 0.4  # low bits would change the second
    between = shape.override({"threshold": 0.75 * second})
    found, wanted = run(KERNEL, between, inputs), KERNEL.naive(between, inputs)
    assert found["recomputed"].flatten().tolist() == [1, 0]
    assert torch.allclose(found["output"].double(), wanted["output"], rtol=1e-3, atol=1e-4)


@needs_triton
def test_sure_heads_do_not_read_low_bits() -> None:
    shape = Progressive(heads=2, kv_heads=2, keys=150, dim=64, share=0)
    inputs = KERNEL.inputs(shape, seed=3)
    found = run(KERNEL, shape, inputs)
    other = run(KERNEL, shape, {**inputs, "lsb": torch.full_like(inputs["lsb"], -1)})
    assert not found["recomputed"].any()
    assert torch.equal(found["output"], other["output"])


@needs_triton
def test_a_head_exactly_at_the_threshold_is_sure() -> None:
    shape = Progressive(heads=1, kv_heads=1, keys=64, dim=16, share=0, threshold=1 / 64)
    inputs = KERNEL.inputs(shape, seed=4)
    inputs["query"] = torch.zeros_like(inputs["query"])  # 64 equal probabilities
    assert not run(KERNEL, shape, inputs)["recomputed"].any()
    above = shape.override({"threshold": 1 / 63})
    assert run(KERNEL, above, inputs)["recomputed"].all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"heads": 8, "kv_heads": 1}, "1, 2, 4 times kv_heads, 8 is not of 1"),
        ({"msb_bits": 6}, "msb_bits"),
        ({"threshold": 0.0}, "threshold"),
        ({"keys": 39}, "keys must be at least 40 for heads below threshold 0.1, not 39"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Progressive(**values)
