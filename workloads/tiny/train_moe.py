"""Train the tiny mixture of experts: a Mixtral on bytes of Python's own library source.

`python -m workloads.tiny.train_moe` writes `moe/` beside this file: a Hugging Face checkpoint and
`training.json`, what the model card states. Its corpus and held-out text are the tiny decoder's.
`python -m workloads.tiny.train_moe --resume --seed 1` trains what is stored on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from workloads.tiny.corpus import HELD_OUT_FILE, batches, bigram_nats, corpus, held_out_nats
from workloads.tiny.training import fit, provenance
from workloads.tiny_models import load_moe

FOLDER = Path(__file__).parent / "moe"
CONTEXT = 512
_PHASES = ((600, 16, 256), (100, 8, CONTEXT))  # steps, sequences, tokens of each
_PEAK = 3e-3  # learning rate
_RESUMED_PHASES = ((200, 16, 256), (50, 8, CONTEXT))
_RESUMED_PEAK = 1e-3
_BALANCE = 0.02  # weight of `imbalance`; Mixtral's configuration has 0.02
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


def imbalance(router_logits: tuple[Tensor, ...], per_token: int) -> Tensor:
    """Return the sum over layers of experts * sum(load * mean probability), least when equal.

    This is the loss of Switch Transformers (arXiv:2101.03961, equation 4) layer by layer;
    transformers' own puts all layers together and lets an expert of one layer starve.

    Args:
        router_logits: for each layer (tokens, experts).
        per_token: experts that a token passes through.
    """
    total = router_logits[0].new_zeros(())
    for logits in router_logits:
        experts = logits.shape[-1]
        chosen = torch.bincount(logits.topk(per_token, -1).indices.flatten(), minlength=experts)
        mean = logits.float().softmax(-1).mean(0)
        total = total + experts * (chosen / len(logits) * mean).sum()
    return total


def train(seed: int, before: dict[str, Any] | None) -> dict[str, Any]:
    """Train, save the checkpoint and return what the card states.

    Args:
        seed: of what is random.
        before: facts about the stored model, which is trained on; None: a new model.
    """
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    torch.manual_seed(seed)
    text, held_out = corpus()[0], HELD_OUT_FILE.read_bytes()
    phases, peak = (_RESUMED_PHASES, _RESUMED_PEAK) if before else (_PHASES, _PEAK)
    model = (load_moe().model if before else make_model()).train()
    ALL_EXPERTS_FUNCTIONS.register(_PADDED, padded_experts)
    model.set_experts_implementation(_PADDED)
    steps = sum(count for count, _, _ in phases)
    seconds = fit(model.parameters(), _losses(model, text, phases), steps, peak)
    model.eval().half().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    tokens = sum(count * sequences * length for count, sequences, length in phases)
    if before:
        steps, tokens = steps + before["steps"], tokens + before["trained_tokens"]
        seconds += before["seconds"]
    return {
        "train_bytes": len(text),
        "trained_tokens": tokens,
        "steps": steps,
        "bigram_nats": bigram_nats(text, held_out),
        **learnt(load_moe().model, held_out),
        **provenance(seconds, seed),
    }


def learnt(model: Any, text: bytes) -> dict[str, Any]:
    """Return the size of a model, its loss on a held-out text and the loads of its experts."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_per_token": _parameters_per_token(model),
        "held_out_bytes": len(text),
        "held_out_nats": held_out_nats(model, text, CONTEXT),
        "held_out_nats_16_windows": held_out_nats(model, text[: 16 * CONTEXT], CONTEXT),
        "expert_load": expert_load(model, text).tolist(),
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
            hidden = model.model(input_ids=batch, use_cache=False, output_router_logits=True)
            logits = model.lm_head(hidden.last_hidden_state)
        nats = functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), batch[:, 1:].flatten()
        )
        yield nats + _BALANCE * imbalance(hidden.router_logits, model.config.num_experts_per_tok)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="train the stored model on")
    arguments = parser.parse_args()
    file = FOLDER / "training.json"
    facts = train(arguments.seed, json.loads(file.read_text()) if arguments.resume else None)
    file.write_text(json.dumps(facts, indent=2) + "\n")
