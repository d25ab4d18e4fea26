"""Train the tiny decoder: a Llama on bytes of Python's own library source.

`python -m workloads.tiny.train_decoder` writes `decoder/` beside this file: a Hugging Face
checkpoint, the held-out text and `training.json`, what the model card states. The corpus is the
library of the Python that runs; every 20th module, by a hash of its name, is held out.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import sysconfig
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent / "decoder"
CONTEXT = 1024
HELD_OUT_BYTES = 64 * CONTEXT
_PHASES = ((2450, 16, 256), (400, 4, CONTEXT))  # steps, sequences, tokens of each
_PEAK, _WARM_UP = 3e-3, 100  # learning rate, steps until it is reached


def corpus() -> tuple[bytes, bytes]:
    """Return the text to train on and the held-out text, modules in the order of their names."""
    library = Path(sysconfig.get_paths()["stdlib"])
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if not {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(name.parts):
            held_out = zlib.crc32(name.as_posix().encode()) % 20 == 0
            parts[held_out].append(path.read_bytes())
    return b"\n".join(parts[0]), b"\n".join(parts[1])


def bigram_nats(train: bytes, held_out: bytes) -> float:
    """Return the mean loss of a bigram model with add-one smoothing, nats a byte."""
    text = np.frombuffer(train, np.uint8).astype(np.int64)
    counts = np.bincount(text[:-1] * 256 + text[1:], minlength=65536).reshape(256, 256) + 1.0
    logs = np.log(counts / counts.sum(1, keepdims=True))
    seen = np.frombuffer(held_out, np.uint8)
    return float(-logs[seen[:-1], seen[1:]].mean())


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
    start = time.perf_counter()
    trained = _fit(model, np.frombuffer(text, np.uint8))
    seconds = time.perf_counter() - start
    model.eval().half().save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    (FOLDER / "held_out.txt").write_bytes(held_out)
    stored = type(model).from_pretrained(FOLDER).float().eval()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_bytes": len(text),
        "trained_tokens": trained,
        "held_out_bytes": len(held_out),
        "held_out_nats": held_out_nats(stored, held_out),
        "held_out_nats_8_windows": held_out_nats(stored, held_out[: 8 * CONTEXT]),
        "bigram_nats": bigram_nats(text, held_out),
        "seconds": round(seconds),
        "machine": f"{torch.get_num_threads()} CPU threads, bfloat16 autocast",
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "seed": seed,
    }


def held_out_nats(model: Any, text: bytes) -> float:
    """Return the mean loss over windows of the whole context, nats a byte."""
    windows = torch.tensor(list(text)).view(-1, CONTEXT)
    with torch.inference_mode():
        losses = [model(input_ids=w[None], labels=w[None]).loss.item() for w in windows]
    return float(np.mean(losses))


def _fit(model: Any, text: np.ndarray[Any, Any]) -> int:
    total = sum(steps for steps, _, _ in _PHASES)
    optimizer = torch.optim.AdamW(model.parameters(), _PEAK, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    trained, model = 0, model.train()
    for step, batch in enumerate(_batches(text)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        trained += batch.numel()
        if step % 50 == 0:
            sys.stderr.write(f"step {step} of {total}: {loss.item():.3f} nats a byte\n")
    return trained


def _rate(step: int, total: int) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total)))


def _batches(text: np.ndarray[Any, Any]) -> Iterator[torch.Tensor]:
    for steps, sequences, tokens in _PHASES:
        for _ in range(steps):
            starts = torch.randint(0, len(text) - tokens, (sequences,)).tolist()
            yield torch.stack(
                [torch.from_numpy(text[s : s + tokens].astype(np.int64)) for s in starts]
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    facts = train(parser.parse_args().seed)
    (FOLDER / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
