"""Low-bit attention: against plain attention, loops in float64, and its own formats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from algos.attention.low_bit import LowBitAttention, blockwise_8_bits, rotary_frequencies
from algos.attention.sink_window import SinkWindow
from algos.quant.activations import quantize_activations
from algos.quant.kv4 import quantize_kv
from tests.algos.decoders import random_decoder
from workloads.attention import dense_attention, visible_mask
from workloads.errors import InputError
from workloads.models import LoadedModel, shape_of
from workloads.step import AttentionStep

TOKENS, CHANNELS = 150, 16


def step_of(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> AttentionStep:
    ids = torch.arange(query.shape[2])[None]
    return AttentionStep(
        layer=3,
        step=0,
        query=query,
        key=key,
        value=value,
        scale=CHANNELS**-0.5,
        mask=visible_mask(None, True, ids, ids, torch.float32),
        query_ids=ids,
        key_ids=ids,
        tokens_dense=query.shape[2],
    )


def raw(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw Q of 4 heads, K and V of 2, before any rotation."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(1, heads, TOKENS, CHANNELS, generator=generator) * size
        for heads, size in ((4, 2), (2, 2), (2, 1))
    )
    return q, k, v


@pytest.fixture
def step() -> AttentionStep:
    return step_of(*raw())


def test_without_changes_it_is_plain_attention(step: AttentionStep) -> None:
    found, expected = LowBitAttention(integer=False).attend(step), dense_attention(step)
    torch.testing.assert_close(found.output, expected.output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.probability, expected.probability, atol=1e-6, rtol=1e-5)


def test_a_window_as_long_as_the_text_changes_nothing(step: AttentionStep) -> None:
    wide = SinkWindow(sinks=4, recent=TOKENS)
    frequencies = torch.rand(CHANNELS // 2)
    found = LowBitAttention(window=wide, inverse_frequencies=frequencies).attend(step)
    expected = LowBitAttention().attend(step)
    torch.testing.assert_close(found.output, expected.output, atol=1e-6, rtol=1e-5)


def test_window_with_capped_sinks_against_loops() -> None:
    """Rotations are made from raw Q and K, at the positions that the design gives."""
    config = transformers.LlamaConfig(hidden_size=4 * CHANNELS, num_attention_heads=4)
    rope = LlamaRotaryEmbedding(config)
    window = SinkWindow(sinks=3, recent=20)
    q, k, v = raw()
    step = step_of(*apply_rotary_pos_emb(q, k, *rope(q, torch.arange(TOKENS)[None])), v)
    handler = LowBitAttention(integer=False, window=window, inverse_frequencies=rope.inv_freq)
    found = handler.attend(step).output

    def at(x: torch.Tensor, position: int) -> torch.Tensor:
        table = rope(x, torch.tensor([[position]]))
        return apply_rotary_pos_emb(x[None, None, None], x[None, None, None], *table)[0].flatten()

    for head, token in ((0, 5), (1, 22), (2, 23), (3, 149)):
        scores, values = [], []
        for key in window.cached(token):
            position = min(token, 22) if key < 3 else token
            own = at(q[0, head, token], position) @ at(k[0, head // 2, key], key)
            scores.append(float(own) / 4)
            values.append(v[0, head // 2, key])
        weights = torch.softmax(torch.tensor(scores), 0)
        torch.testing.assert_close(
            found[0, head, token], weights @ torch.stack(values), atol=1e-4, rtol=1e-3
        )


def test_learned_positions_are_not_rotated(step: AttentionStep) -> None:
    window = SinkWindow(sinks=2, recent=8)
    found = LowBitAttention(integer=False, window=window).attend(step).probability
    visible = window.visible(step.query_ids, step.key_ids)[0]
    expected = dense_attention(step).probability * visible
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_integers_against_loops_in_float64(step: AttentionStep) -> None:
    found = LowBitAttention().attend(step).output
    q, q_scale = (x.double().numpy() for x in quantize_activations(step.query, "x"))
    key, value = quantize_kv(step.key, "x"), quantize_kv(step.value, "x")
    for head, token in ((0, 10), (1, 64), (3, 149)):
        kv = head // 2
        seen = token + 1
        kc, kz = (x[0, kv, :seen].double().numpy() for x in (key.code, key.zero))
        vc, vz = (x[0, kv, :seen].double().numpy() for x in (value.code, value.zero))
        ks, vs = (x[0, kv, :seen, 0].double().numpy() for x in (key.scale, value.scale))
        integers = (kc - kz) @ q[0, head, token]
        scores = integers * ks * q_scale[0, head, token, 0] * CHANNELS**-0.5
        weights = np.exp(scores - scores.max())
        total = np.zeros(CHANNELS)
        for start in range(0, seen, 64):
            block = slice(start, start + 64)
            scaled = weights[block] * vs[block]
            step_size = 2.0 ** (math.floor(math.log2(scaled.max())) - 7)
            s8 = np.minimum(np.rint(scaled / step_size), 255)
            total += s8 @ (vc[block] - vz[block]) * step_size
        # a number near half a step may round the other way in float32
        np.testing.assert_allclose(found[0, head, token], total / weights.sum(), atol=0.01)


def test_low_bits_stay_close_to_plain_attention(step: AttentionStep) -> None:
    found, expected = LowBitAttention().attend(step).output, dense_attention(step).output
    error = float((found - expected).square().mean() / expected.square().mean())
    assert 0 < error < 0.05


def test_blocks_of_probabilities_by_hand() -> None:
    x = torch.zeros(1, 130)
    x[0, :3] = torch.tensor([1.0, 0.5, 1 / 512])  # step 1/128: the last is a quarter of it
    x[0, 64:66] = torch.tensor([255.6, 3.49])  # step 1; the first would be 256
    x[0, 129] = 1e-38
    found = blockwise_8_bits(x)
    assert found[0, :3].tolist() == [1, 0.5, 0]
    assert found[0, 64:66].tolist() == [255, 3]
    assert found[0, 66:].tolist() == [0] * 64
    assert found.shape == x.shape


def test_overflow_names_the_layer() -> None:
    q, k, v = raw()
    for tensor in (q, k, v):
        whole = tensor[0, 0, 7, 0].item()
        tensor[0, 0, 7, 0] = torch.inf
        with pytest.raises(InputError, match=r"^attention of layer 3: "):
            LowBitAttention().attend(step_of(q, k, v))
        tensor[0, 0, 7, 0] = whole


def test_v_scales_stay_below_the_engines_limit() -> None:
    q, k, v = raw()
    v[0, 0, 7, 0], k[0, 0, 7, 0] = 900, 900  # V: 900 / 15 is below 64 ...
    LowBitAttention().attend(step_of(q, k, v))
    v[0, 0, 7, 0], k[0, 0, 7, 0] = 990, 990  # ... and 990 / 15 is not; K may be larger
    with pytest.raises(InputError, match=r"^attention of layer 3: the scale of K or V .* below 64"):
        LowBitAttention().attend(step_of(q, k, v))


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_families_without_rotation(family: str) -> None:
    assert rotary_frequencies(random_decoder(family)) is None


def llama(**changed: Any) -> LoadedModel:
    config = transformers.LlamaConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        vocab_size=8,
        max_position_embeddings=64,
        **changed,
    )
    return LoadedModel(transformers.LlamaForCausalLM(config), None, shape_of(config), "some")


def test_rotations_that_cannot_be_capped_are_refused() -> None:
    found = rotary_frequencies(llama())
    assert found is not None
    assert len(found) == 8
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(InputError, match=r"^the rotary embedding of some must have constant freq"):
        rotary_frequencies(llama(rope_parameters=rope))
    partial = llama()
    partial.model.model.rotary_emb.inv_freq = torch.ones(4)
    with pytest.raises(InputError, match=r"must turn all 16 channels of a head, not 8$"):
        rotary_frequencies(partial)
