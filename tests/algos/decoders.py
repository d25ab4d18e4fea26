"""Small decoders with random weights, and tokens for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from workloads.models import LoadedModel, shape_of

FAMILIES = ("gpt2", "llama", "opt")


def random_decoder(family: str, seed: int = 0, positions: int = 64, **changed: int) -> LoadedModel:
    """Make a decoder of 2 layers, 64 wide, whose attention is far from even."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2}
    sizes |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None} | changed
    if family == "gpt2":
        config = transformers.GPT2Config(n_head=4, n_positions=positions, n_inner=128, **sizes)
    elif family == "opt":
        config = transformers.OPTConfig(
            num_attention_heads=4,
            ffn_dim=128,
            max_position_embeddings=positions,
            word_embed_proj_dim=sizes["hidden_size"],
            **sizes,
        )
    else:
        config = transformers.LlamaConfig(
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=128,
            max_position_embeddings=positions,
            **sizes,
        )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return LoadedModel(model, None, shape_of(config, family), family)


def random_tokens(windows: int, tokens: int, seed: int = 0) -> torch.Tensor:
    """Draw token ids (windows, tokens)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (windows, tokens), generator=generator)
