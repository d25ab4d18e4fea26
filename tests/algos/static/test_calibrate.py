"""What calibration collects, against plain forward and backward passes."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from algos.linears import block_slots
from algos.static.base import BlockPruning, BlockView, ModelView, Need, PrunedWeight, StaticMethod
from algos.static.calibrate import IGNORED, answers, labelled, next_token, sentence_pairs
from algos.static.run import model_view, prune
from tests.algos.decoders import random_decoder, random_tokens
from tests.algos.static.models import FAMILIES, random_model
from workloads.errors import InputError


class Everything(StaticMethod):
    """Sees all there is and prunes nothing."""

    name: ClassVar[str] = "test"
    family: ClassVar[str] = "test"
    signal: ClassVar[str] = "test"
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[Need]] = frozenset(
        {"inputs", "gradients", "sample_gradients", "input_gradients", "hidden"}
    )

    def prune_block(self, block: BlockView, plan: Any) -> BlockPruning:
        return BlockPruning()


class Nothing(Everything):
    needs: ClassVar[frozenset[Need]] = frozenset()


class Blocks(Everything):
    """Writes down what blocks see, and halves every weight of the blocks."""

    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})
    seen: ClassVar[list[BlockView]] = []

    def prune_block(self, block: BlockView, plan: Any) -> BlockPruning:
        self.seen.append(block)
        return BlockPruning(
            weights={name: PrunedWeight(weight=v.weight / 2) for name, v in block.linears.items()}
        )


def view_of(family: str, method: StaticMethod) -> tuple[Any, Any, ModelView]:
    model, shape, calibration = random_model(family)
    return model, calibration, model_view(method, model, shape, calibration)


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_follow_from_the_inputs_of_a_matrix(family: str) -> None:
    _, calibration, view = view_of(family, Everything())
    assert view.samples == len(calibration.samples) == 4
    block = view.blocks[1]
    for number, entered in enumerate(block.entered):
        tokens = len(entered)
        assert len(block.linears["query"].samples[number]) == tokens
        if family == "bert":  # what enters a block enters its first matrix
            torch.testing.assert_close(block.linears["query"].samples[number], entered)
        if family == "mixtral":
            routed = [len(block.linears[f"down.{e}"].samples[number]) for e in range(4)]
            assert sum(routed) == 2 * tokens
            gate, up = (block.linears[f"{op}.1"] for op in ("gate", "up"))
            x = gate.samples[number]
            inner = torch.nn.functional.silu(x @ gate.weight.T) * (x @ up.weight.T)
            torch.testing.assert_close(block.linears["down.1"].samples[number], inner)
    assert view.blocks[0].left[2].equal(block.entered[2])
    assert all(x.equal(y) for x, y in zip(view.dense.hidden[1], block.left, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_mean_loss(family: str) -> None:
    model, calibration, view = view_of(family, Everything())
    losses = [
        calibration.loss(calibration.read(model(**sample)), i)
        for i, sample in enumerate(calibration.samples)
    ]
    assert view.dense.loss == pytest.approx(float(sum(losses).detach() / 4), rel=1e-5)
    sum(losses).backward()  # type: ignore[union-attr]
    for block, slots in zip(view.blocks, block_slots(model), strict=True):
        for name, linear in block.linears.items():
            slot = slots[name]
            torch.testing.assert_close(
                linear.gradient_sum, slot.of(slot.stored.grad), rtol=1e-4, atol=1e-6
            )
            each = torch.stack(linear.gradient_samples)
            torch.testing.assert_close(each.abs().sum(0), linear.gradient_abs_sum)
            torch.testing.assert_close(each.square().sum(0), linear.gradient_square_sum)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "mixtral"])
def test_a_gradient_by_inputs_is_that_of_scaling_them(family: str) -> None:
    """Scaling a channel by s is scaling the column of the matrix that reads it."""
    _, _, view = view_of(family, Everything())
    for name in ("output", "down"):
        linear = view.blocks[0].linears[name]
        assert linear.input_gradients is not None
        products = [x * g for x, g in zip(linear.samples, linear.input_gradients, strict=True)]
        by_channel = sum(p.sum(0) for p in products)
        expected = (linear.gradient_sum * linear.weight).sum(0)
        torch.testing.assert_close(by_channel, expected, rtol=1e-3, atol=1e-5)


def test_statistics_by_hand() -> None:
    _, _, view = view_of("llama", Everything())
    linear = view.blocks[0].linears["up"]
    flat = torch.cat(linear.samples)
    torch.testing.assert_close(linear.input_squares, flat.square().sum(0) / 4)
    torch.testing.assert_close(linear.hessian, flat.T @ flat / 2)
    torch.testing.assert_close(linear.input_mean, flat.mean(0))
    torch.testing.assert_close(linear.input_variance, flat.var(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_later_blocks_see_what_pruned_ones_give(family: str) -> None:
    model, shape, calibration = random_model(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    Blocks.seen.clear()
    pruning = prune(Blocks(), model, shape, calibration)
    assert all(p.equal(before[name]) for name, p in model.named_parameters())
    for slot in block_slots(model)[0].values():
        slot.weight.mul_(0.5)
    half = model_view(Everything(), model, shape, calibration)
    dense_first, second = Blocks.seen
    for name, linear in second.linears.items():
        expected = half.blocks[1].linears[name].samples
        for x, y in zip(linear.samples, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
        assert pruning.blocks[1].weights[name].weight.equal(linear.weight / 2)
    assert not dense_first.linears["output"].samples[0].equal(second.linears["output"].samples[0])


def test_what_is_not_declared_is_not_there() -> None:
    _, _, view = view_of("llama", Nothing())
    linear = view.blocks[0].linears["up"]
    for read in ("samples", "hessian", "gradient_sum", "gradient_samples"):
        with pytest.raises(ValueError, match="must declare"):
            getattr(linear, read)
    assert view.blocks[0].entered == ()


def test_random_numbers_follow_the_seed() -> None:
    model, shape, calibration = random_model("llama")
    drawn = [
        torch.rand(3, generator=model_view(Nothing(), model, shape, calibration, s).generator)
        for s in (1, 1, 2)
    ]
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


def test_numbers_that_are_not_finite_are_refused() -> None:
    loaded = random_decoder("llama")
    calibration = next_token(random_tokens(2, 8))
    for name, message in (
        ("model.norm.weight", r"^gradients of calibration sample 0 must be finite, some are not$"),
        ("model.embed_tokens.weight", r"^layer 0 query: inputs on the calibration samples must be"),
        ("model.layers.1.mlp.up_proj.weight", r"^layer 1 up: weights must be finite, not all are$"),
    ):
        broken = random_decoder("llama").model
        broken.get_parameter(name).data.fill_(torch.nan)
        with pytest.raises(InputError, match=message):
            prune(Everything(), broken, loaded.shape, calibration)


def test_only_answers_count() -> None:
    model, shape, _ = random_model("llama")
    tokens = random_tokens(2, 10)
    embeds = [{"inputs_embeds": model.model.embed_tokens(t)[None].detach()} for t in tokens]
    targets = tokens.clone()
    targets[:, :7] = IGNORED
    calibration = answers(embeds, list(targets))
    view = model_view(Everything(), model, shape, calibration)
    with torch.no_grad():
        logits = model(input_ids=tokens).logits[:, 6:9].log_softmax(-1)
    expected = -logits.gather(2, tokens[:, 7:, None]).mean((1, 2))
    assert view.dense.losses == pytest.approx(expected.tolist(), rel=1e-4)
    assert bool((view.blocks[1].linears["down"].gradient_sum != 0).any())
    with pytest.raises(InputError, match=r"^calibration must have targets for each sample, not 1"):
        answers(embeds, [targets[0]])
    with pytest.raises(InputError, match=r"^calibration sample 1 must have a token to predict$"):
        answers(embeds, [targets[0], torch.full((10,), IGNORED)])


def test_calibration_must_have_samples(encoder: Any) -> None:
    with pytest.raises(InputError, match=r"^calibration must be samples of at least 2 tokens, not"):
        next_token(torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(InputError, match=r"^calibration must have a label for each sample, not 1"):
        labelled([{}, {}], [1])
    with pytest.raises(
        InputError, match=r"^calibration must be at least 2 pairs of sentences, not"
    ):
        sentence_pairs(encoder.model, [[1, 2], [3]])
