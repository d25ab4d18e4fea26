"""Compression of whole decoders: what changes, what stays, and what later blocks see."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from algos.compress import Compression, compress, set_weights
from algos.linears import block_linears, get_weight
from algos.packed_model import load_packed, save_packed
from algos.weight.pattern import keep_largest
from algos.weight.sparsegpt import hessian_of, prune
from algos.weight.wanda import input_squares, wanda_score
from tests.algos.decoders import FAMILIES, random_decoder, random_tokens
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.packed import WeightFormat

PER_BLOCK = {"gpt2": 4, "llama": 7, "opt": 6}


def linears_of(model: Any) -> dict[str, Any]:
    return {name: part for block in block_linears(model) for name, part in block.items()}


def inputs_of(model: Any, layer: str, tokens: torch.Tensor) -> torch.Tensor:
    """Return the inputs (samples, tokens, columns) of a layer in a plain forward pass."""
    seen: list[torch.Tensor] = []
    hook = linears_of(model)[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for sample in tokens:
            model(input_ids=sample[None], use_cache=False)
    hook.remove()
    return torch.stack([x.reshape(-1, x.shape[-1]) for x in seen])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_of_the_blocks_and_nothing_else_changes(family: str) -> None:
    model = random_decoder(family).model
    before = copy.deepcopy(model)
    packed = compress(model, random_tokens(2, 16), Compression(prune="magnitude"))
    linears = linears_of(model)
    assert set(packed) == set(linears)
    assert len(packed) == 2 * PER_BLOCK[family]
    for name, linear in linears.items():
        weight = get_weight(linear)
        assert np.array_equal(weight.numpy(), packed[name].weights())
        assert torch.equal(
            weight != 0, (weight != 0) & keep_largest(get_weight(before.get_submodule(name)).abs())
        )
    changed = {f"{name}.weight" for name in linears}
    for name, parameter in before.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter) == (name not in changed), name


def test_gpt2_weights_are_taken_as_outputs_by_inputs() -> None:
    model = random_decoder("gpt2").model
    packed = compress(model, random_tokens(1, 8), Compression(prune="magnitude"))
    matrix = packed["transformer.h.0.attn.c_attn"]
    assert (matrix.rows, matrix.columns) == (3 * 64, 64)
    down = packed["transformer.h.1.mlp.c_proj"]
    assert (down.rows, down.columns) == (64, 128)


@pytest.mark.parametrize("family", FAMILIES)
def test_later_blocks_see_compressed_earlier_ones(family: str) -> None:
    """What is right for block 1 is what its inputs in the finished model say."""
    model, tokens = random_decoder(family).model, random_tokens(3, 24)
    dense = copy.deepcopy(model)
    compress(model, tokens, Compression(prune="wanda", weights=None))
    layer = next(iter(block_linears(model)[1]))
    weight = get_weight(linears_of(dense)[layer])
    masks = [
        keep_largest(wanda_score(weight, input_squares(inputs_of(seen, layer, tokens))))
        for seen in (model, dense)
    ]
    assert torch.equal(get_weight(linears_of(model)[layer]), weight * masks[0])
    assert not torch.equal(*masks)


def test_sparsegpt_gets_the_hessian_of_each_layer() -> None:
    model, tokens = random_decoder("llama").model, random_tokens(3, 24)
    dense = copy.deepcopy(model)
    compress(model, tokens, Compression(weights=None))
    for layer in ("model.layers.1.self_attn.v_proj", "model.layers.0.mlp.up_proj"):
        # in its own block a layer sees the others as they were: only block 0 is compressed
        mixed = copy.deepcopy(dense)
        if ".1." in layer:
            for name, linear in block_linears(mixed)[0].items():
                linear.weight.data = get_weight(linears_of(model)[name])
        hessian = hessian_of(inputs_of(mixed, layer, tokens))
        expected = prune(get_weight(linears_of(dense)[layer]), hessian)
        found = get_weight(linears_of(model)[layer])
        assert torch.equal(found != 0, expected != 0)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_random_control_follows_its_seed() -> None:
    tokens, found = random_tokens(1, 8), []
    for seed in (0, 0, 1):
        model = random_decoder("opt").model
        compress(model, tokens, Compression(prune="random", weights=None, seed=seed))
        found.append(get_weight(next(iter(linears_of(model).values()))))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert float((found[0] != 0).float().mean()) == 0.5


def test_a_model_from_disk_is_the_one_that_was_compressed(tmp_path: Any) -> None:
    loaded, tokens = random_decoder("gpt2"), random_tokens(2, 16)
    again = copy.deepcopy(loaded.model)
    packed = compress(loaded.model, tokens, Compression(prune="wanda"))
    save_packed(tmp_path, "gpt2", packed)
    set_weights(again, load_packed(tmp_path))
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, loaded.model(tokens).logits)


def test_damaged_packed_models_are_refused(tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"^packed model .* must be readable: "):
        load_packed(tmp_path)
    model = random_decoder("opt").model
    packed = compress(model, random_tokens(1, 8), Compression(prune="magnitude"))
    save_packed(tmp_path, "opt", packed)
    (tmp_path / "packed.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"^packed model .* must be readable: "):
        load_packed(tmp_path)
    name, first = next(iter(packed.items()))
    with pytest.raises(InputError, match=rf"^{name}: the packed model must have this layer"):
        set_weights(model, {})
    wrong = compress(
        random_decoder("opt", hidden_size=128).model,
        random_tokens(1, 8),
        Compression(prune="magnitude"),
    )
    assert name in wrong
    with pytest.raises(InputError, match=rf"^{name}: the packed layer must be \(64, 64\), not"):
        set_weights(model, wrong)
    assert first.columns == 64


def test_inputs_that_do_not_fill_groups_name_the_layer() -> None:
    model = random_decoder("llama", hidden_size=96).model
    with pytest.raises(
        InputError,
        match=r"^model.layers.0.self_attn.q_proj: inputs must be a multiple of 64, not 96$",
    ):
        compress(model, random_tokens(1, 8), Compression())


def test_another_architecture_is_refused(encoder: LoadedModel) -> None:
    with pytest.raises(InputError, match=r"^the model must be a decoder of gpt2, llama, opt, not"):
        compress(encoder.model, random_tokens(1, 8), Compression())
    config = transformers.Qwen2Config(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, vocab_size=16
    )
    with pytest.raises(InputError, match=r"not 'qwen2'$"):
        compress(transformers.Qwen2ForCausalLM(config), random_tokens(1, 8), Compression())


def test_overflowing_calibration_names_the_layer() -> None:
    model = random_decoder("llama").model
    model.model.embed_tokens.weight.data[:] = torch.nan
    with pytest.raises(InputError, match=r"^model.layers.0.self_attn.q_proj: inputs on the calib"):
        compress(model, random_tokens(1, 8), Compression(weights=WeightFormat()))
