"""A pruned model against one that is really smaller, and what the trace says of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers

from algos.linears import block_slots
from algos.static.apply import applied, pruned_copy
from algos.static.base import BlockPruning, PrunedWeight, Pruning
from algos.static.facts import trace_facts
from algos.static.probing import Prober
from tests.algos.static.models import FAMILIES, random_model
from workloads.errors import InputError

PLAIN = tuple(family for family in FAMILIES if family != "mixtral")


def outputs(model: Any, calibration: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return [calibration.read(model(**sample)) for sample in calibration.samples]


def same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in pairs)


def one(block: BlockPruning) -> Pruning:
    return Pruning.only(2, {1: block})


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_pruning_changes_nothing(family: str) -> None:
    model, _, calibration = random_model(family)
    found = outputs(pruned_copy(model, one(BlockPruning())), calibration)
    assert all(x.equal(y) for x, y in zip(found, outputs(model, calibration), strict=True))


def test_cut_neurons_equal_a_narrower_model() -> None:
    model, _, calibration = random_model("llama")
    neurons = torch.arange(128) % 3 != 1
    small = copy.deepcopy(model)
    mlp = small.model.layers[1].mlp
    for part in (mlp.gate_proj, mlp.up_proj):
        part.weight = torch.nn.Parameter(part.weight.detach()[neurons])
    mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight.detach()[:, neurons])
    pruned = pruned_copy(model, one(BlockPruning(neurons=neurons)))
    assert same(outputs(pruned, calibration), outputs(small, calibration))
    facts = trace_facts(model, one(BlockPruning(neurons=neurons)))
    kept = int(neurons.sum())
    assert facts.matmul[1, "up"]["n"] == facts.matmul[1, "down"]["k"] == kept
    assert facts.matmul[1, "gate"]["pattern"] == "structured"
    assert facts.matmul[1, "gate"]["density"] == 1
    assert facts.matmul[0, "up"] == facts.matmul[0, "up"] | {"n": 128, "pattern": "dense"}
    assert facts.dense_weights - facts.kept_weights == 3 * 64 * (128 - kept)


def test_cut_heads_equal_a_narrower_model() -> None:
    """Key heads of 2 queries each: with query heads 0 and 1 the first key head goes."""
    model, _, calibration = random_model("llama")
    heads = torch.tensor([False, False, True, True])
    small = copy.deepcopy(model)
    part = small.model.layers[1].self_attn
    for name, keep in (
        ("q_proj", slice(32, 64)),
        ("k_proj", slice(16, 32)),
        ("v_proj", slice(16, 32)),
    ):
        linear = getattr(part, name)
        linear.weight = torch.nn.Parameter(linear.weight.detach()[keep])
    part.o_proj.weight = torch.nn.Parameter(part.o_proj.weight.detach()[:, 32:])
    pruning = one(BlockPruning(heads=heads))
    assert same(outputs(pruned_copy(model, pruning), calibration), outputs(small, calibration))
    facts = trace_facts(model, pruning)
    sizes = {
        n: (facts.matmul[1, n]["k"], facts.matmul[1, n]["n"]) for n in ("query", "key", "output")
    }
    assert sizes == {"query": (64, 32), "key": (64, 16), "output": (32, 64)}
    lone = trace_facts(model, one(BlockPruning(heads=torch.tensor([True, False, True, True]))))
    assert lone.matmul[1, "key"]["n"] == 32  # query head 0 still needs it


@pytest.mark.parametrize("family", PLAIN)
def test_skipped_sublayers_leave_the_residual(family: str) -> None:
    model, _, calibration = random_model(family)
    whole = one(BlockPruning(skip_attention=True, skip_ffn=True))
    hidden = Prober(model, calibration)(whole).hidden
    for entered, left in zip(*hidden, strict=True):
        if family != "bert":  # BERT normalises what is left of the sum
            assert left.equal(entered)
        assert torch.isfinite(left).all()
    half = Prober(model, calibration)(one(BlockPruning(skip_ffn=True))).hidden
    assert not half[1][0].equal(hidden[1][0])
    facts = trace_facts(model, whole)
    assert facts.tokens[1] == {"attention_skipped": True, "ffn_skipped": True}
    assert facts.tokens[0] == {"attention_skipped": False, "ffn_skipped": False}
    assert all(facts.matmul[1, name]["skipped"] for name in block_slots(model)[1])
    assert facts.kept_ratio == 0.5


def test_biases_are_added_where_there_was_none() -> None:
    model, _, calibration = random_model("llama")
    shift = torch.randn(64)
    small = copy.deepcopy(model)
    small.model.layers[1].mlp.down_proj.register_forward_hook(lambda _m, _a, out: out + shift)
    pruning = one(BlockPruning(biases={"down": shift}))
    assert same(outputs(pruned_copy(model, pruning), calibration), outputs(small, calibration))


def test_one_expert_stands_for_others() -> None:
    """A router that knows only experts 1 and 3 chooses as one of those two alone."""
    model, _, calibration = random_model("mixtral")
    experts = torch.tensor([1, 1, -1, 3])
    mean = (block_slots(model)[1]["up.0"].weight + block_slots(model)[1]["up.1"].weight) / 2
    block = BlockPruning(
        experts=experts, weights={"up.1": PrunedWeight(weight=mean, pattern="dense")}
    )
    small = copy.deepcopy(model)
    mlp = small.model.layers[1].mlp
    block_slots(small)[1]["up.1"].weight.copy_(mean)
    mlp.gate.weight.data[[0, 2]] = 0
    mlp.gate.register_forward_hook(lambda _m, args, _o: routed(mlp.gate, args[0]))
    pruned = pruned_copy(model, one(block))
    assert same(outputs(pruned, calibration), outputs(small, calibration))
    assert pruned.model.layers[1].mlp.experts.num_experts == 2
    facts = trace_facts(model, one(block))
    assert [facts.matmul[1, f"up.{e}"]["skipped"] for e in range(4)] == [True, False, True, False]
    assert facts.matmul[1, "router"]["n"] == 2
    with pytest.raises(
        InputError, match=r"^layer 1 must keep at least 2 experts, to which a token"
    ):
        pruned_copy(model, one(BlockPruning(experts=torch.tensor([0, 0, 0, 0]))))


def routed(gate: Any, hidden: torch.Tensor) -> Any:
    logits = hidden.reshape(-1, 32) @ gate.weight.T
    logits[:, [0, 2]] = -torch.inf
    values, chosen = logits.softmax(-1).topk(2)
    return logits, values / values.sum(-1, keepdim=True), chosen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_what_it_was(family: str) -> None:
    model, shape, calibration = random_model(family)
    before = outputs(model, calibration)
    names = [name for name, _ in model.named_parameters()]
    block = BlockPruning(
        weights={"query": PrunedWeight(weight=torch.zeros(shape.hidden, shape.hidden))},
        heads=torch.tensor([True, False, True, False]),
        biases={"output": torch.ones(shape.hidden)},
        skip_ffn=True,
        experts=torch.tensor([0, 1, 1, 1]) if family == "mixtral" else None,
    )
    with applied(model, one(block)):
        assert not same(outputs(model, calibration), before)
    found = outputs(model, calibration)
    assert all(x.equal(y) for x, y in zip(found, before, strict=True))
    assert [name for name, _ in model.named_parameters()] == names


def test_facts_of_sparse_weights() -> None:
    model, _, _ = random_model("llama")
    mask = torch.zeros(64, 64)
    mask[:4, :8], mask[7, 3] = 1, 1
    two = torch.ones(64, 64).view(64, 16, 4) * torch.tensor([1.0, 0, 0, 1])
    block = BlockPruning(
        weights={
            "query": PrunedWeight(weight=mask),
            "output": PrunedWeight(weight=two.view(64, 64), pattern="n:m", n=2, m=4),
        }
    )
    facts = trace_facts(model, one(block))
    query = facts.matmul[1, "query"]
    assert query["pattern"] == "unstructured"
    assert query["density"] == pytest.approx(33 / 4096)
    assert query["row_nonzeros"].tolist() == [8, 8, 8, 8, 0, 0, 0, 1] + [0] * 56
    output = facts.matmul[1, "output"]
    assert (output["pattern"], output["pattern_n"], output["pattern_m"]) == ("n:m", 2, 4)
    assert output["density"] == 0.5
    assert facts.dense_weights - facts.kept_weights == 4096 - 33 + 2048
    blocks = PrunedWeight(weight=mask, pattern="block", block_rows=4, block_columns=1)
    found = trace_facts(model, one(BlockPruning(weights={"query": blocks}))).matmul[1, "query"]
    assert found["block_ids"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 64 + 3]


def test_wrappers_are_matrices_of_their_own() -> None:
    model, _, _ = random_model("llama")
    core = torch.ones(128, 16, 4) * torch.tensor([0.0, 1, 0, 1])
    weight = PrunedWeight(
        weight=torch.ones(128, 64),
        pattern="n:m",
        n=2,
        m=4,
        core=core.view(128, 64),
        wrappers=(32, 16),
    )
    facts = trace_facts(model, one(BlockPruning(weights={"up": weight})))
    assert facts.matmul[1, "up"]["density"] == 0.5
    after, before = facts.matmul[1, "up.after"], facts.matmul[1, "up.before"]
    assert (after["operator"], after["k"], after["n"], after["density"]) == (
        "up_after",
        128,
        128,
        0.25,
    )
    assert before["block_ids"].tolist() == [0, 5, 10, 15]
    assert before["row_nonzeros"].tolist() == [16] * 64
    lost = 128 * 64 // 2 - 128 * 32 - 64 * 16
    assert facts.dense_weights - facts.kept_weights == lost


def test_wrong_sizes_are_refused() -> None:
    model, _, _ = random_model("llama")
    for block, message in (
        (
            BlockPruning(weights={"up": PrunedWeight(weight=torch.ones(2, 2))}),
            r"^layer 1 up must be",
        ),
        (
            BlockPruning(weights={"x": PrunedWeight(weight=torch.ones(2, 2))}),
            r"^layer 1 must have a",
        ),
        (BlockPruning(heads=torch.ones(3, dtype=torch.bool)), r"^layer 1 must have as many heads"),
        (BlockPruning(neurons=torch.ones(3, dtype=torch.bool)), r"^layer 1 must have as many neur"),
        (
            BlockPruning(biases={"up": torch.ones(3)}),
            r"^layer 1 up must have a bias of 128, not 3$",
        ),
    ):
        with pytest.raises(InputError, match=message):
            pruned_copy(model, one(block))
    mixture, _, _ = random_model("mixtral")
    with pytest.raises(
        InputError, match=r"^layer 1 must have as many experts as the list, 4, not 3$"
    ):
        pruned_copy(mixture, one(BlockPruning(experts=torch.arange(3))))
    with pytest.raises(InputError, match=r"^layer 1 up.1 must be able to have a bias, it is not$"):
        pruned_copy(mixture, one(BlockPruning(biases={"up.1": torch.ones(48)})))


def test_masks_of_all_layers_become_blocks() -> None:
    heads = torch.eye(2, dtype=torch.bool)
    pruning = Pruning.of_masks(heads=heads, skip_ffn=torch.tensor([True, False]), neurons=None)
    assert [block.skip_ffn for block in pruning.blocks] == [True, False]
    assert all(block.heads is not None for block in pruning.blocks)
    with pytest.raises(ValueError, match="one number of layers"):
        Pruning.of_masks(heads=heads, skip_ffn=torch.ones(3))


def test_qwen2_is_known_too() -> None:
    config = transformers.Qwen2Config(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        vocab_size=16,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    assert set(block_slots(transformers.Qwen2ForCausalLM(config))[0]) >= {"query", "gate", "down"}
