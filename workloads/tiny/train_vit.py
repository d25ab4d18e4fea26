"""Train the tiny vision transformer: it names the one handwritten digit on a canvas.

`python -m workloads.tiny.train_vit` writes `vit/` beside this file: a Hugging Face checkpoint and
`training.json`, what the model card states.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workloads.digits import (
    CANVAS,
    GRID,
    PATCH,
    Digits,
    alone,
    alone_on_patches,
    held_out_images,
    load_digits,
)
from workloads.tiny.training import fit, provenance

FOLDER = Path(__file__).parent / "vit"
TURN = 0.2  # radians; training digits are turned by up to this, test digits are not
_STEPS, _BATCH, _PEAK = 3600, 32, 1.5e-3
_EASY, _HARD = 0.1, 0.4  # shares of the steps: until the first digits stand on whole patches only,
#                          from the second on they stand anywhere
_STD = 0.5  # of the first patch and position embeddings: the default, 0.02, did not learn to look


def make_model() -> Any:
    """Return the untrained model."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=CANVAS,
        patch_size=PATCH,
        num_channels=1,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
    )
    config.num_labels = 10
    model = ViTForImageClassification(config)
    model.set_attn_implementation("eager")  # with short sequences faster on a CPU than the fused
    embeddings = model.vit.embeddings
    with torch.no_grad():
        embeddings.patch_embeddings.projection.weight.normal_(std=_STD)
        embeddings.position_embeddings[0, 1:] = _STD * waves(*GRID, config.hidden_size)
    return model


def waves(rows: int, columns: int, width: int) -> torch.Tensor:
    """Return sines and cosines of each patch's row and column, (rows * columns, width)."""
    frequencies = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    row = torch.arange(rows).repeat_interleave(columns)[:, None] * frequencies
    column = torch.arange(columns).repeat(rows)[:, None] * frequencies
    return torch.cat((row.sin(), row.cos(), column.sin(), column.cos()), 1)


def train(seed: int, steps: int) -> dict[str, Any]:
    """Train, save the checkpoint and return what the card states."""
    torch.manual_seed(seed)
    digits = load_digits()[0]
    model = make_model().train()
    seconds = fit(model.parameters(), _losses(model, digits, steps, seed), steps, _PEAK)
    model.eval().half().save_pretrained(FOLDER)
    stored = type(model).from_pretrained(FOLDER).float().eval()
    test = held_out_images()
    with torch.inference_mode():
        logits = stored(torch.from_numpy(test.images)).logits
    labels = torch.from_numpy(test.labels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_images": len(digits.labels),
        "trained_canvases": steps * _BATCH,
        "steps": steps,
        "batch": _BATCH,
        "test_images": len(test.labels),
        "test_top1": float((logits.argmax(-1) == labels).float().mean()),
        "test_nats": float(torch.nn.functional.cross_entropy(logits, labels)),
        "majority_top1": float(np.bincount(test.labels).max() / len(test.labels)),
        **provenance(seconds, seed),
    }


def _losses(model: Any, digits: Digits, steps: int, seed: int) -> Iterator[torch.Tensor]:
    random = np.random.default_rng(seed)
    for step in range(steps):
        chosen = random.integers(0, len(digits.labels), _BATCH)
        images, labels = digits.images[chosen], torch.from_numpy(digits.labels[chosen])
        anywhere = random.random(_BATCH) < (step / steps - _EASY) / (_HARD - _EASY)
        free, easy = alone(images, random, TURN), alone_on_patches(images, random)
        pixels = torch.from_numpy(np.where(anywhere[:, None, None, None], free, easy))
        with torch.autocast("cpu", torch.bfloat16):
            yield model(pixels, labels=labels).loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=_STEPS)
    arguments = parser.parse_args()
    facts = train(arguments.seed, arguments.steps)
    (FOLDER / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
