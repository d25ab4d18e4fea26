"""Attaching to a model: captured equals eager in every family, and nothing is left behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
import transformers

from workloads.attention import AttentionOutput, dense_attention
from workloads.capture import Recorder, attached, find_blocks
from workloads.errors import InputError
from workloads.session import MARK, LayerInput
from workloads.step import AttentionStep

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}


def bert(**changes: Any) -> Any:
    return transformers.BertModel(transformers.BertConfig(**SMALL | changes))


def gpt2() -> Any:
    return transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=4, n_positions=32)
    )


def opt() -> Any:
    return transformers.OPTModel(
        transformers.OPTConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=24,
            word_embed_proj_dim=16,
            max_position_embeddings=32,
        )
    )


def llama() -> Any:
    return transformers.LlamaModel(transformers.LlamaConfig(**SMALL, num_key_value_heads=2))


def mixtral() -> Any:
    return transformers.MixtralModel(
        transformers.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=4)
    )


def qwen2() -> Any:
    return transformers.Qwen2Model(transformers.Qwen2Config(**SMALL, num_key_value_heads=2))


def vit() -> Any:
    return transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=24,
            image_size=8,
            patch_size=4,
        )
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert": bert,
    "gpt2": gpt2,
    "opt": opt,
    "llama": llama,
    "mixtral": mixtral,
    "qwen2": qwen2,
    "vit": vit,
}
TOKENS = torch.tensor([[7, 3, 21, 40, 11, 2, 9], [1, 30, 5, 5, 48, 17, 6]])


def make(family: str) -> Any:
    torch.manual_seed(3)
    model = FAMILIES[family]().eval()
    for parameter in model.parameters():  # the default initialisation attends almost evenly
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def forward(model: Any, **changes: Any) -> Any:
    if model.config.model_type == "vit":
        torch.manual_seed(5)
        return model(torch.randn(2, 3, 8, 8), **changes).last_hidden_state
    options = {"use_cache": False} | changes
    return model(input_ids=TOKENS, **options).last_hidden_state


class Drop:
    """Dense attention; some tokens are dropped before one layer."""

    def __init__(self, layer: int, kept: list[int]) -> None:
        self.layer = layer
        self.kept = torch.tensor([kept, kept])
        self.steps: list[AttentionStep] = []

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        return entry.keep(self.kept) if entry.layer == self.layer else entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        self.steps.append(step)
        return dense_attention(step)


class Fails(Recorder):
    def attend(self, step: AttentionStep) -> AttentionOutput:
        raise ZeroDivisionError


@pytest.mark.parametrize("family", FAMILIES)
def test_captured_equals_eager(family: str) -> None:
    model = make(family)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = forward(model)
    recorder = Recorder()
    with attached(model, recorder):
        found = forward(model)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert [layer.step.layer for layer in recorder.layers] == [0, 1, 2]
    for layer in recorder.layers:
        batch, tokens = layer.hidden.shape[:2]
        assert layer.probability.shape == (batch, 4, tokens, tokens)
        torch.testing.assert_close(layer.probability.sum(-1), torch.ones(batch, 4, tokens))
        assert layer.step.key_ids.tolist() == [list(range(tokens))] * batch


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "mixtral", "qwen2"])
def test_causal_models_do_not_look_ahead(family: str) -> None:
    recorder = Recorder()
    model = make(family)
    with attached(model, recorder):
        forward(model)
    for layer in recorder.layers:
        assert layer.probability.triu(1).abs().max() == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored(family: str, fails: bool) -> None:
    model = make(family)
    before, implementation = forward(model), model.config._attn_implementation
    with suppress(ZeroDivisionError), attached(model, Fails() if fails else Recorder()):
        forward(model)
    assert model.config._attn_implementation == implementation
    assert not any(hasattr(module, MARK) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(forward(model), before)


def test_another_model_is_unaffected() -> None:
    attached_model, other = make("bert"), make("bert")
    before = forward(other)
    with attached(attached_model, Fails()):
        assert torch.equal(forward(other), before)


def test_another_model_of_the_same_configuration_is_unaffected() -> None:
    torch.manual_seed(0)
    first = transformers.BertModel(transformers.BertConfig(**SMALL)).eval()
    other = transformers.BertModel(first.config).eval()
    other.set_attn_implementation("eager")
    before = forward(other)
    with attached(first, Fails()):
        assert torch.equal(forward(other), before)


@torch.no_grad()
def test_dropped_tokens_are_gone_from_later_layers() -> None:
    model, kept = make("bert"), [0, 1, 3, 4, 6]
    model.set_attn_implementation("eager")
    hidden = model.embeddings(TOKENS)
    for layer, block in enumerate(model.encoder.layer):
        hidden = block(hidden[:, kept] if layer == 2 else hidden)
    drop = Drop(2, kept)
    with attached(model, drop):
        found = forward(model)
    assert torch.equal(found, hidden)
    assert [step.key.shape[2] for step in drop.steps] == [7, 7, 5]
    assert drop.steps[2].query_ids.tolist() == [kept, kept]
    assert drop.steps[2].tokens_dense == 7


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_rotary_positions_follow_the_tokens_left(family: str) -> None:
    model, kept = make(family), [0, 2, 3, 6]
    model.set_attn_implementation("eager")
    hidden = model.embed_tokens(TOKENS)
    for layer, block in enumerate(model.layers):
        if layer == 1:
            hidden = hidden[:, kept]
        ids = torch.tensor([kept if layer else list(range(7))])
        mask = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
        mask.masked_fill_(torch.ones_like(mask).triu(1).bool(), torch.finfo(torch.float32).min)
        tables = model.rotary_emb(hidden, ids)
        hidden = block(hidden, attention_mask=mask, position_embeddings=tables)
    with attached(model, Drop(1, kept)):
        found = forward(model)
    torch.testing.assert_close(found, model.norm(hidden), rtol=0, atol=1e-5)


def test_opt_drops_tokens_with_its_mask() -> None:
    model, drop = make("opt"), Drop(1, [1, 4, 6])
    with attached(model, drop):
        assert forward(model).shape == (2, 3, 16)
    mask = drop.steps[1].mask
    assert mask is not None
    assert (mask[0, 0] == 0).tolist() == [[True, False, False], [True, True, False], [True] * 3]


def cache_argument(model: Any) -> str:
    """Return what `forward` calls its cache: transformers 5.24 renamed `past_key_values`."""
    parameters = inspect.signature(type(model).forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"


def test_generation_counts_steps_and_keys() -> None:
    model, drop = make("llama"), Drop(9, [0])
    with torch.no_grad(), attached(model, drop):
        past = model(input_ids=TOKENS, use_cache=True)[1]
        model(input_ids=TOKENS[:, :1], use_cache=True, **{cache_argument(model): past})
    last = drop.steps[-1]
    assert [step.step for step in drop.steps] == [0, 0, 0, 1, 1, 1]
    assert last.query_ids.tolist() == [[7], [7]]
    assert last.key_ids.tolist() == [list(range(8))] * 2
    assert (last.query.shape[2], last.key.shape[1:3], last.tokens_dense) == (1, (2, 8), 8)


def test_a_causal_flag_without_a_mask_is_enough() -> None:
    model, recorder = make("llama"), Recorder()
    ids = torch.arange(5).expand(2, -1)
    hidden = torch.randn(2, 5, 16)
    with torch.no_grad(), attached(model, recorder):
        model.layers[0](hidden, position_embeddings=model.rotary_emb(hidden, ids))
    assert recorder.layers[0].probability.triu(1).abs().max() == 0


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("gpt2", {}, "a model that drops tokens must accept fewer than its input has, GPT-2 "),
        ("llama", {"use_cache": True}, "tokens must be dropped in a pass without a cache "),
    ],
)
def test_impossible_drops_are_refused(family: str, options: Any, message: str) -> None:
    model = make(family)
    with attached(model, Drop(1, [0, 1])), pytest.raises(InputError, match=f"^{message}"):
        forward(model, **options)


def test_a_model_is_attached_once() -> None:
    model = make("bert")
    again = attached(model, Recorder())
    expected = "^the model must be attached once at a time, BertModel already is$"
    with attached(model, Recorder()), pytest.raises(InputError, match=expected):
        again.__enter__()
    assert forward(model).shape == (2, 7, 16)


def test_models_without_blocks_or_with_cross_attention_are_refused() -> None:
    crossed = bert(is_decoder=True, add_cross_attention=True)
    with pytest.raises(InputError, match=r"^the model must have no cross-attention, BertModel "):
        find_blocks(crossed)
    empty = bert(num_hidden_layers=0)
    with pytest.raises(InputError, match=r"^the model must be a stack of transformer blocks, "):
        find_blocks(empty)
