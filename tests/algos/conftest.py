"""A small BERT with random weights, and sequences for it."""

from __future__ import annotations

import pytest
import torch
import transformers

from workloads.models import LoadedModel, shape_of


def random_encoder(layers: int = 6, heads: int = 4, seed: int = 0) -> LoadedModel:
    """Make a BERT whose attention is far from even."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=48,
        max_position_embeddings=40,
    )
    model = transformers.BertModel(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return LoadedModel(model, None, shape_of(config, "random"), "random")


@pytest.fixture
def encoder() -> LoadedModel:
    """A model that a test may change."""
    return random_encoder()


@pytest.fixture
def sequences() -> list[list[int]]:
    """Token ids of 9 sequences of 5 lengths, 1 among them."""
    generator = torch.Generator().manual_seed(1)
    lengths = (12, 7, 12, 20, 7, 1, 9, 12, 7)
    return [torch.randint(60, (n,), generator=generator).tolist() for n in lengths]
