"""Small models of every family with random weights, and calibration for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from algos.static.calibrate import Calibration, labelled, next_token, sentence_pairs
from tests.algos.conftest import random_encoder
from tests.algos.decoders import random_decoder, random_tokens
from workloads.models import LoadedModel, shape_of
from workloads.shapes import ModelShape

FAMILIES = ("bert", "gpt2", "llama", "opt", "vit", "mixtral")


def random_model(family: str) -> tuple[Any, ModelShape, Calibration]:
    """Make a model of 2 layers, its shape and 4 calibration samples."""
    if family in ("gpt2", "llama", "opt"):
        loaded = random_decoder(family)
        return loaded.model, loaded.shape, next_token(random_tokens(4, 12))
    if family == "bert":
        loaded = random_encoder(layers=2)
        lists = [torch.randint(60, (n,)).tolist() for n in (5, 9, 7, 4)]
        return loaded.model, loaded.shape, sentence_pairs(loaded.model, lists)
    torch.manual_seed(0)
    if family == "vit":
        model = random_vit()
        images = [{"pixel_values": torch.randn(1, 3, 16, 16)} for _ in range(4)]
        return model, shape_of(model.config, "vit"), labelled(images, [0, 1, 2, 3])
    loaded = random_mixture()
    return loaded.model, loaded.shape, next_token(random_tokens(4, 12))


def random_vit(layers: int = 2, image: int = 16) -> Any:
    """Make an image classifier of 10 classes."""
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=image,
        patch_size=4,
        num_labels=10,
    )
    return shaken(transformers.ViTForImageClassification(config))


def random_mixture() -> LoadedModel:
    """Make a decoder with 4 experts a layer, of which a token takes 2."""
    config = transformers.MixtralConfig(
        vocab_size=256,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        num_local_experts=4,
        num_experts_per_tok=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = shaken(transformers.MixtralForCausalLM(config))
    shape = ModelShape(
        name="mixture",
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        hidden=32,
        intermediate=48,
        gated=True,
        experts=4,
        experts_per_token=2,
        source="test",
    )
    return LoadedModel(model, None, shape, "mixture")


def shaken(model: Any) -> Any:
    """Add noise to every parameter, so that no bias is zero."""
    for parameter in model.eval().parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model
