"""The integer decoder: against the same weights in floating point, and its window."""

from __future__ import annotations

import numpy as np
import pytest

from reports.golden import decoder_weights
from sim.machines.accllm_golden import DecoderWeights, GoldenDecoder
from workloads.errors import InputError
from workloads.models import LoadedModel, shape_of
from workloads.packed import PATTERNS, PackedMatrix, WeightFormat

pytestmark = pytest.mark.model


def _compress(weight: np.ndarray, seed: int) -> PackedMatrix:
    """Return a matrix at 2 bits with random pairs kept: nothing clever, only valid."""
    rows, columns = weight.shape
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(PATTERNS), (rows, columns // 4))
    positions = np.array(PATTERNS, np.uint8)[chosen].reshape(rows, -1)
    at = np.arange(columns // 2) // 2 * 4 + positions
    kept = np.take_along_axis(weight, at.astype(int), 1).reshape(rows, columns // 64, 32)
    scales = ((kept.max(-1) - kept.min(-1)) / 3).astype(np.float16)
    zeros = np.clip(np.rint(-kept.min(-1) / scales), 0, 3).astype(np.uint8)
    codes = np.clip(np.rint(kept / scales[..., None]) + zeros[..., None], 0, 3)
    return PackedMatrix(
        format=WeightFormat(),
        columns=columns,
        codes=codes.astype(np.uint8).reshape(rows, -1),
        positions=positions,
        scales=scales,
        zeros=zeros,
    )


@pytest.fixture(scope="module")
def compressed() -> tuple[LoadedModel, dict[str, PackedMatrix]]:
    """Return a small Llama with random weights, and the packed matrices that it runs with."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config).eval()
    packed = {}
    for number, (name, module) in enumerate(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            packed[name] = _compress(module.weight.detach().numpy(), number)
            module.weight.data = torch.from_numpy(packed[name].weights())
    return LoadedModel(model, None, shape_of(config, "small"), "small"), packed


@pytest.fixture(scope="module")
def weights(compressed: tuple[LoadedModel, dict[str, PackedMatrix]]) -> DecoderWeights:
    return decoder_weights(*compressed)


TOKENS = np.random.default_rng(0).integers(0, 64, 40)


def test_integers_follow_the_model_in_float(
    compressed: tuple[LoadedModel, dict[str, PackedMatrix]], weights: DecoderWeights
) -> None:
    import torch

    ours = GoldenDecoder(weights).logits(TOKENS)
    with torch.inference_mode():
        model = compressed[0].model
        theirs = model(input_ids=torch.tensor(TOKENS)[None]).logits[0].numpy()
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(1) / lengths
    # activations of 8 bits and caches of 4 bits against none; measured 0.975 and 0.989
    assert cosines.min() > 0.96
    assert cosines.mean() > 0.985


def test_window_changes_nothing_until_it_is_full(weights: DecoderWeights) -> None:
    whole = GoldenDecoder(weights).logits(TOKENS)
    windowed = GoldenDecoder(weights, sinks=4, recent=8).logits(TOKENS)
    np.testing.assert_array_equal(whole[:12], windowed[:12])
    assert np.abs(whole[12:] - windowed[12:]).max() > 0


def test_a_query_meets_sinks_and_window_only(weights: DecoderWeights) -> None:
    """Tokens between sinks and window reach the last output through other layers only."""
    one = GoldenDecoder(weights, sinks=2, recent=4)
    hidden = np.random.default_rng(1).integers(-(2**17), 2**17, (20, 128))
    changed = hidden.copy()
    changed[5] += 2**16
    before, after = one.layer(0, hidden), one.layer(0, changed)
    differs = (before != after).any(1)
    assert differs.tolist() == [5 <= token < 9 for token in range(20)]


def test_a_model_that_is_no_llama_is_refused(
    compressed: tuple[LoadedModel, dict[str, PackedMatrix]],
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_head=2, n_embd=64, vocab_size=16, n_positions=16)
    loaded = LoadedModel(GPT2LMHeadModel(config), None, shape_of(config, "gpt2"), "gpt2")
    with pytest.raises(InputError, match="takes a llama model, not gpt2"):
        decoder_weights(loaded, {})


def test_a_missing_matrix_is_named(
    compressed: tuple[LoadedModel, dict[str, PackedMatrix]],
) -> None:
    loaded, packed = compressed
    name = "model.layers.1.mlp.up_proj"
    with pytest.raises(InputError, match=f"{name} must be compressed"):
        decoder_weights(loaded, {key: matrix for key, matrix in packed.items() if key != name})
