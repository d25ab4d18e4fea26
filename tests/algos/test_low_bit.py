"""Decoders in low precision: what a context changes, and that it leaves nothing behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algos.attention.sink_window import SinkWindow
from algos.compress import Compression, compress
from algos.linears import block_linears, get_weight
from algos.low_bit import low_bit
from algos.quant.activations import at_8_bits, quantize_activations
from tests.algos.decoders import FAMILIES, random_decoder, random_tokens
from workloads.errors import InputError


def logits(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_each_switch_changes_the_output_a_little_and_is_undone(family: str) -> None:
    loaded, tokens = random_decoder(family), random_tokens(2, 48)
    plain = logits(loaded.model, tokens)
    window = SinkWindow(sinks=2, recent=30)
    for switches in (
        {"activations": True, "attention": False},
        {"activations": False, "attention": True},
        {"activations": False, "attention": False, "window": window},
    ):
        with low_bit(loaded, **switches):  # type: ignore[arg-type]
            changed = logits(loaded.model, tokens)
        assert 0 < float((changed - plain).abs().mean()) < 0.3 * float(plain.std()), switches
        assert torch.equal(logits(loaded.model, tokens), plain)
    with low_bit(loaded, activations=False, attention=False):
        assert torch.equal(logits(loaded.model, tokens), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_hides_only_old_tokens(family: str) -> None:
    """One block sees back 10 tokens, so two blocks see back 18, besides the sinks."""
    loaded, tokens = random_decoder(family), random_tokens(1, 48)
    other = tokens.clone()
    other[0, 12] = (other[0, 12] + 1) % 256
    with low_bit(loaded, activations=False, attention=False, window=SinkWindow(sinks=2, recent=10)):
        same = (logits(loaded.model, tokens) == logits(loaded.model, other)).all(-1)[0]
    assert same[:12].all()
    assert not same[12:22].any()
    assert same[31:].all()


def test_inputs_of_linear_layers_are_rounded_and_the_head_is_not() -> None:
    loaded, tokens = random_decoder("llama"), random_tokens(1, 8)
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    layers = {n: part for block in block_linears(loaded.model) for n, part in block.items()}
    layers["lm_head"] = loaded.model.lm_head
    with low_bit(loaded, attention=False):
        hooks = [
            part.register_forward_hook(
                lambda _, args, out, n=name: seen.update({n: (args[0], out)})
            )
            for name, part in layers.items()
        ]
        logits(loaded.model, tokens)
    for hook in hooks:
        hook.remove()
    for name, (inputs, output) in seen.items():
        rounded = at_8_bits(inputs, name)
        assert torch.allclose(rounded, inputs, rtol=1e-6, atol=0) == (name != "lm_head"), name
        torch.testing.assert_close(output, inputs @ get_weight(layers[name]).T)


@pytest.mark.parametrize("family", FAMILIES)
def test_linear_layers_equal_the_engines_integers(family: str) -> None:
    """Codes of inputs times code - zero times scale, as integers of 2^-24, exact in int64."""
    loaded, tokens = random_decoder(family), random_tokens(1, 24)
    packed = compress(loaded.model, tokens, Compression(prune="magnitude"))
    layers = {n: part for block in block_linears(loaded.model) for n, part in block.items()}
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    hooks = [
        part.register_forward_hook(lambda _, args, out, n=name: seen.update({n: (args[0], out)}))
        for name, part in layers.items()
    ]
    with torch.no_grad():
        loaded.model(tokens, use_cache=False)
        for hook in hooks:
            hook.remove()
        for name, (inputs, _) in seen.items():
            with low_bit(loaded, attention=False):
                found = layers[name](inputs)
            codes, scale = quantize_activations(inputs, name)
            matrix = packed[name]
            fixed = (matrix.scales.astype(np.float64) * 2**24).astype(np.int64)
            fixed = np.repeat(fixed, matrix.columns // fixed.shape[1], 1)
            weight = matrix.dense_codes().astype(np.int64) * fixed
            sums = codes.numpy().astype(np.int64) @ weight.T
            expected = sums * 2.0**-24 * scale.numpy()
            if layers[name].bias is not None:
                expected = expected + layers[name].bias.numpy()
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_an_overflow_names_the_layer() -> None:
    loaded = random_decoder("llama")
    loaded.model.model.layers[1].post_attention_layernorm.weight.data[5] = torch.inf
    with (
        low_bit(loaded),
        pytest.raises(InputError, match=r"^model.layers.1.mlp.gate_proj: activations must be fin"),
    ):
        logits(loaded.model, random_tokens(1, 8))
