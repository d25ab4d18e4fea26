"""Train the tiny mixture of experts: a Mixtral on bytes of Python's own library source.

`python -m workloads.tiny.train_moe` writes `moe/` beside this file: a Hugging Face checkpoint and
`training.json`, what the model card states. Its corpus and held-out text are the tiny decoder's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workloads.tiny.corpus import HELD_OUT_FILE, batches, bigram_nats, corpus, held_out_nats
from workloads.tiny.training import fit, provenance

FOLDER = Path(__file__).parent / "moe"
CONTEXT = 512
_PHASES = ((600, 16, 256), (100, 8, CONTEXT))  # steps, sequences, tokens of each
_PEAK = 3e-3  # learning rate
_BALANCE = 0.02  # weight of the loss that asks for equal loads of the experts (Mixtral: 0.02)
_PADDED = "prunesim_padded"  # name of `padded_experts` inside transformers


def make_model() -> Any:
    """Return the untrained model."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=256,
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        num_local_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        router_aux_loss_coef=_BALANCE,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    return MixtralForCausalLM(config)


def padded_experts(module: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Compute the experts of a layer as one batched product, each padded to the largest load.

    On a CPU this trains several times as fast as a loop over experts, whose backward pass makes
    gradients of all experts for each.

    Args:
        module: Mixtral's experts: `gate_up_proj` and `down_proj` are (expert, outputs, inputs).
        hidden: (tokens, hidden).
        chosen: (tokens, experts per token) numbers of experts.
        weights: (tokens, experts per token), of each expert's output.
    """
    experts, per_token = len(module.gate_up_proj), chosen.shape[1]
    order = chosen.flatten().argsort(stable=True)
    expert, token = chosen.flatten()[order], order // per_token
    load = torch.bincount(expert, minlength=experts)
    first = load.cumsum(0) - load
    row = torch.arange(len(order)) - first[expert]
    padded = hidden.new_zeros(experts, int(load.max()), hidden.shape[1])
    padded[expert, row] = hidden[token]
    gate, up = torch.bmm(padded, module.gate_up_proj.transpose(1, 2)).chunk(2, -1)
    found = torch.bmm(module.act_fn(gate) * up, module.down_proj.transpose(1, 2))
    outputs = found[expert, row] * weights.flatten()[order][:, None]
    return torch.zeros_like(hidden).index_add(0, token, outputs.to(hidden.dtype))


def train(seed: int, part: float) -> dict[str, Any]:
    """Train for a part of the steps, save the checkpoint and return what the card states."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    torch.manual_seed(seed)
    text, held_out = corpus()[0], HELD_OUT_FILE.read_bytes()
    phases = tuple((round(count * part), *size) for count, *size in _PHASES)
    model = make_model().train()
    ALL_EXPERTS_FUNCTIONS.register(_PADDED, padded_experts)
    model.set_experts_implementation(_PADDED)
    steps = sum(count for count, _, _ in phases)
    seconds = fit(model.parameters(), _losses(model, text, phases), steps, _PEAK)
    model.eval().half().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    stored = type(model).from_pretrained(FOLDER).float().eval()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_per_token": _parameters_per_token(model),
        "train_bytes": len(text),
        "trained_tokens": sum(count * sequences * tokens for count, sequences, tokens in phases),
        "steps": steps,
        "held_out_bytes": len(held_out),
        "held_out_nats": held_out_nats(stored, held_out, CONTEXT),
        "held_out_nats_16_windows": held_out_nats(stored, held_out[: 16 * CONTEXT], CONTEXT),
        "bigram_nats": bigram_nats(text, held_out),
        "expert_load": expert_load(stored, held_out).tolist(),
        **provenance(seconds, seed),
    }


def expert_load(model: Any, text: bytes) -> torch.Tensor:
    """Return the share of tokens that each layer sends to each expert, (layers, experts).

    A row adds up to the number of experts a token passes through.
    """
    windows = torch.tensor(list(text)).view(-1, CONTEXT)
    chosen = model.config.num_experts_per_tok
    counts = torch.zeros(model.config.num_hidden_layers, model.config.num_local_experts)
    with torch.inference_mode():
        for window in windows:
            logits = model(input_ids=window[None], output_router_logits=True).router_logits
            for layer, scores in enumerate(logits):
                experts = scores.topk(chosen, -1).indices.flatten()
                counts[layer] += torch.bincount(experts, minlength=counts.shape[1])
    return counts / windows.numel()


def _parameters_per_token(model: Any) -> int:
    config = model.config
    expert = 3 * config.hidden_size * config.intermediate_size
    unused = config.num_local_experts - config.num_experts_per_tok
    everything = sum(p.numel() for p in model.parameters())
    return int(everything - config.num_hidden_layers * unused * expert)


def _losses(model: Any, text: bytes, phases: Any) -> Iterator[torch.Tensor]:
    for batch in batches(text, phases):
        with torch.autocast("cpu", torch.bfloat16):
            yield model(input_ids=batch, labels=batch, output_router_logits=True).loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=float, default=1.0, help="of the steps")
    arguments = parser.parse_args()
    facts = train(arguments.seed, arguments.part)
    (FOLDER / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
