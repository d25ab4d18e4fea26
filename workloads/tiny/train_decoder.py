"""Train the tiny decoder: a Llama on bytes of Python's own library source.

`python -m workloads.tiny.train_decoder` writes `decoder/` beside this file: a Hugging Face
checkpoint, the held-out text and `training.json`, what the model card states.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from workloads.tiny.corpus import batches, bigram_nats, corpus, held_out_nats
from workloads.tiny.training import fit, provenance

FOLDER = Path(__file__).parent / "decoder"
CONTEXT = 1024
HELD_OUT_BYTES = 64 * CONTEXT
_PHASES = ((2450, 16, 256), (400, 4, CONTEXT))  # steps, sequences, tokens of each
_PEAK = 3e-3  # learning rate


def make_model() -> Any:
    """Return the untrained decoder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def train(seed: int) -> dict[str, Any]:
    """Train, save the checkpoint and return what the card states."""
    torch.manual_seed(seed)
    text, rest = corpus()
    held_out = rest[:HELD_OUT_BYTES]
    model = make_model()
    steps = sum(count for count, _, _ in _PHASES)
    seconds = fit(model.parameters(), _losses(model, text), steps, _PEAK)
    model.eval().half().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    (FOLDER / "held_out.txt").write_bytes(held_out)
    stored = type(model).from_pretrained(FOLDER).float().eval()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_bytes": len(text),
        "trained_tokens": sum(count * sequences * tokens for count, sequences, tokens in _PHASES),
        "held_out_bytes": len(held_out),
        "held_out_nats": held_out_nats(stored, held_out, CONTEXT),
        "held_out_nats_8_windows": held_out_nats(stored, held_out[: 8 * CONTEXT], CONTEXT),
        "bigram_nats": bigram_nats(text, held_out),
        **provenance(seconds, seed),
    }


def _losses(model: Any, text: bytes) -> Iterator[torch.Tensor]:
    model.train()
    for batch in batches(text, _PHASES):
        with torch.autocast("cpu", torch.bfloat16):
            yield model(input_ids=batch, labels=batch).loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    facts = train(parser.parse_args().seed)
    (FOLDER / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
