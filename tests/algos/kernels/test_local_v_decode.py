"""Local value pruning: which rows it keeps, ties, limits, what it counts."""

from __future__ import annotations

import pytest
import torch

from algos.kernels.launch import launch, run, triton_function
from algos.kernels.local_v_decode.kernel import LocalVDecode
from algos.kernels.local_v_decode.naive import kept_keys, over, scores
from algos.kernels.local_v_decode.shape import LocalV
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = LocalVDecode()
Tensors = dict[str, torch.Tensor]


def buffers_of(shape: LocalV, inputs: Tensors) -> Tensors:
    found = KERNEL.buffers(shape, inputs)
    launch(KERNEL, shape, inputs, found)
    return found


def test_it_counts_what_a_llama_layer_needs() -> None:
    shape = LocalV(heads=32, kv_heads=32, keys=4096, dim=128, share=0.3)
    assert shape.kept == 1228
    count = KERNEL.count(shape)
    assert count.flops == 2 * 32 * (4096 + 1228) * 128
    assert count.dram_bytes == 32 * (4096 + 1228) * 256 + 2 * 32 * 256
    programs = KERNEL.programs(shape, "sm_90")
    assert sum(program.dram_bytes for program in programs) == count.dram_bytes
    score, select, mix, add = programs
    assert score.grid == (8, 32, 1)
    assert score.l2_bytes == 32 * (4096 * (256 + 4) + 8 * 256)
    assert select.l2_bytes == 32 * (2 * 4096 + 2 * 1228) * 4
    assert mix.grid == (8, 32, 1)  # 160 rows each, 32 a step
    assert mix.steps == 5
    assert mix.l2_bytes == 32 * (1228 * (256 + 8) + 8 * 512)
    assert add.l2_bytes == 32 * (8 * 512 + 256)


def test_heads_of_a_group_fetch_at_most_all_rows() -> None:
    half = LocalV(heads=8, kv_heads=1, keys=1024, dim=64, share=0.5)
    whole = half.override({"share": 1.0})
    assert KERNEL.count(half).dram_bytes == KERNEL.count(whole).dram_bytes


def test_sparsity_is_the_share_of_rows_left_out() -> None:
    shape = KERNEL.at_sparsity(LocalV(keys=1000), 0.75)
    assert shape.kept == 250
    assert KERNEL.at_sparsity(shape, 0).kept == 1000
    assert KERNEL.dense_shape(shape).keys == 1000


@needs_triton
def test_kept_rows_are_those_of_the_largest_scores() -> None:
    shape = LocalV(batch=2, heads=4, kv_heads=2, keys=700, dim=32, share=0.3)
    inputs = KERNEL.inputs(shape, seed=3)
    found = buffers_of(shape, inputs)
    ids = found["ids"].long()
    assert (ids.diff() > 0).all()
    of_key = scores(inputs["query"], inputs["key"])
    kept = torch.zeros_like(of_key).scatter(-1, ids, 1.0).bool()
    least = of_key.masked_fill(~kept, torch.inf).amin(-1)
    most_dropped = of_key.masked_fill(kept, -torch.inf).amax(-1)
    assert (least >= most_dropped - 1e-5).all()  # float32 may swap scores that are so near
    weights = of_key.softmax(-1).gather(-1, ids)
    assert torch.allclose(found["weights"].double(), weights, rtol=1e-4)
    assert torch.allclose(
        found["output"].double(), over(of_key, inputs["value"], ids), atol=1e-3, rtol=2e-3
    )


@needs_triton
@pytest.mark.parametrize("share", [0.01, 0.4, 0.99])
@pytest.mark.parametrize("keys", [300, 4500])
def test_of_equal_scores_the_first_are_kept(keys: int, share: float) -> None:
    shape = LocalV(heads=2, kv_heads=1, keys=keys, dim=16, share=share)
    inputs = KERNEL.inputs(shape, seed=4)
    inputs["key"] = torch.randint(-2, 3, inputs["key"].shape).half()
    inputs["key"][..., 1:] = 0  # a score is one product: equal or clearly not, 0 and -0 too
    found = buffers_of(shape, inputs)["ids"]
    assert torch.equal(found.long(), kept_keys(scores(inputs["query"], inputs["key"]), shape.kept))


@needs_triton
def test_both_zeros_are_one_score() -> None:
    shape = LocalV(heads=1, kv_heads=1, keys=6, dim=16, share=0.5)
    found = KERNEL.buffers(shape, KERNEL.inputs(shape, seed=0))
    found["scores"][:] = torch.tensor([-1.0, -0.0, 0.0, -0.0, 0.0, 1.0])
    program = KERNEL.programs(shape, "sm_90")[1]
    known = {**found, **KERNEL.scalars(shape)}
    triton_function(KERNEL, program)[program.grid](
        *(known[name] for name in program.arguments), **program.constants
    )
    assert found["ids"].flatten().tolist() == [1, 2, 5]


@needs_triton
def test_all_scores_equal() -> None:
    shape = LocalV(heads=1, kv_heads=1, keys=1100, dim=16, share=0.5)
    inputs = KERNEL.inputs(shape, seed=5)
    inputs["key"] = torch.ones_like(inputs["key"])
    found = buffers_of(shape, inputs)
    assert torch.equal(found["ids"].flatten(), torch.arange(550, dtype=torch.int32))
    assert torch.allclose(found["weights"], torch.tensor(1 / 1100))


@needs_triton
def test_the_rows_left_are_not_renormalised() -> None:
    shape = LocalV(heads=1, kv_heads=1, keys=100, dim=16, share=0.5)
    inputs = KERNEL.inputs(shape, seed=6)
    inputs["key"] = torch.zeros_like(inputs["key"])
    inputs["value"] = torch.ones_like(inputs["value"])
    assert torch.allclose(
        run(KERNEL, shape, inputs)["output"].float(), torch.tensor(0.5), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"keys": 32_769}, "local-v-decode keys must be at most 32768, not 32769"),
        ({"heads": 12, "kv_heads": 4}, "1, 2, 4, 8 times kv_heads, 12 is not of 4"),
        ({"share": 0.0}, "share"),
        ({"share": 1.1}, "share"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LocalV(**values)
