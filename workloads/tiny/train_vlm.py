"""Train the tiny vision-language model: it answers questions about digits on a canvas.

`python -m workloads.tiny.train_vlm` writes `vlm/` beside this file: checkpoints of the vision
encoder and of the language model, the projector between them, and `training.json`, what the model
card states. The vision encoder starts as the tiny vision transformer: run `train_vit` first.
`python -m workloads.tiny.train_vlm --resume --seed 2` trains what is stored on.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workloads.digits import (
    END,
    Digits,
    Question,
    held_out_questions,
    load_digits,
    questions,
    scenes,
)
from workloads.models import shape_of
from workloads.tasks import answer_accuracy
from workloads.tiny.train_vit import FOLDER as VIT_FOLDER
from workloads.tiny.train_vit import TURN
from workloads.tiny.training import fit, provenance
from workloads.tiny_models import TinyVlm, ask, load_vlm, make_projector

FOLDER = Path(__file__).parent / "vlm"
_STEPS, _CANVASES, _PEAK = 700, 24, 1.5e-3
_VISION_SHARE = 0.2  # of the learning rate: the encoder has learnt already
_RESUMED_PEAK, _RESUMED_SHARE = 1e-3, 0.5
_CLASS_WEIGHT = 0.3  # of the loss by which the class token names the digits it sees
_IGNORED = -100


class Lesson(NamedTuple):
    """The questions about a batch of canvases, all behind the same visual tokens."""

    ids: Tensor  # (canvases, tokens)
    labels: Tensor  # (canvases, tokens) next token where it belongs to an answer, else _IGNORED
    positions: Tensor  # (canvases, visual tokens + tokens)
    visible: Tensor  # (canvases, 1, query, key): each question sees the image and itself


def make_model() -> TinyVlm:
    """Return the model whose vision encoder alone is trained."""
    from transformers import LlamaConfig, LlamaForCausalLM, ViTForImageClassification

    classifier: Any = ViTForImageClassification.from_pretrained(VIT_FOLDER)
    vision = classifier.float().vit
    vision.set_attn_implementation("eager")
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    language = LlamaForCausalLM(config)
    language.set_attn_implementation("eager")
    return TinyVlm(
        vision=vision,
        projector=make_projector(vision.config.hidden_size, config.hidden_size),
        language=language,
        vision_shape=shape_of(vision.config),
        language_shape=shape_of(config),
    )


def resumed_model() -> TinyVlm:
    """Return the stored model, to be trained on."""
    vlm = load_vlm(FOLDER)
    for part in (vlm.vision, vlm.language):
        part.set_attn_implementation("eager")
    return vlm


def train(seed: int, steps: int, before: dict[str, Any] | None) -> dict[str, Any]:
    """Train, save the parts and return what the card states.

    Args:
        seed: of what is random.
        steps: to go.
        before: facts about the stored model, which is trained on; None: a new model.
    """
    torch.manual_seed(seed)
    vlm, digits = resumed_model() if before else make_model(), load_digits()[0]
    peak, vision_share = (_RESUMED_PEAK, _RESUMED_SHARE) if before else (_PEAK, _VISION_SHARE)
    namer = torch.nn.Linear(vlm.vision.config.hidden_size, 10)  # not saved
    fresh = [*vlm.projector.parameters(), *vlm.language.parameters(), *namer.parameters()]
    groups = [
        {"params": fresh},
        {"params": list(vlm.vision.parameters()), "lr": vision_share * peak},
    ]
    seconds = fit(groups, _losses(vlm, namer, digits, seed), steps, peak)
    if before:
        steps, seconds = steps + before["steps"], seconds + before["seconds"]
    _save(vlm)
    stored = load_vlm(FOLDER)
    drawn, asked = held_out_questions()
    answers = ask(stored, drawn, asked)
    parts = {"vision": vlm.vision, "projector": vlm.projector, "language": vlm.language}
    return {
        "parameters": {n: sum(p.numel() for p in part.parameters()) for n, part in parts.items()},
        "train_images": len(digits.labels),
        "trained_canvases": steps * _CANVASES,
        "trained_questions": 7 * steps * _CANVASES,
        "steps": steps,
        "canvases_a_step": _CANVASES,
        "test_canvases": len(drawn.pixels),
        "test_questions": len(asked),
        "test_accuracy": answer_accuracy(answers, [q.answer for q in asked]),
        "test_accuracy_of": accuracy_by_question(answers, asked),
        **_majority(asked),
        **provenance(seconds, seed),
    }


def accuracy_by_question(answers: list[str], asked: list[Question]) -> dict[str, float]:
    """Return the share of right answers to each question."""
    texts = dict.fromkeys(question.text for question in asked)
    right = [answer == q.answer for answer, q in zip(answers, asked, strict=True)]
    return {
        text: float(np.mean([r for r, q in zip(right, asked, strict=True) if q.text == text]))
        for text in texts
    }


def lesson(asked: list[Question], canvases: int, patches: int) -> Lesson:
    """Lay the questions about each canvas one behind the other, each blind to the others."""
    rows = [[q for q in asked if q.canvas == canvas] for canvas in range(canvases)]
    longest = max(sum(len(q.text) + len(q.answer) for q in row) for row in rows)
    ids = np.zeros((canvases, longest), np.int64)
    labels = np.full((canvases, longest), _IGNORED)
    owner = np.full((canvases, patches + longest), -1)  # -1: nobody's, seen by itself alone
    positions = np.tile(np.arange(patches + longest), (canvases, 1))
    owner[:, :patches] = 0
    for canvas, row in enumerate(rows):
        at = 0
        for number, question in enumerate(row, start=1):
            text = np.frombuffer((question.text + question.answer + END).encode(), np.uint8)
            end = at + len(text) - 1  # the last byte is only predicted
            ids[canvas, at:end] = text[:-1]
            labels[canvas, at + len(question.text) - 1 : end] = text[len(question.text) :]
            owner[canvas, patches + at : patches + end] = number
            positions[canvas, patches + at : patches + end] = patches + np.arange(end - at)
            at = end
    mine = torch.from_numpy(owner)
    same = (mine[:, :, None] == mine[:, None, :]) & (mine[:, :, None] >= 0)
    visible = (same | (mine[:, None, :] == 0)).tril() | torch.eye(owner.shape[1], dtype=torch.bool)
    return Lesson(
        torch.from_numpy(ids),
        torch.from_numpy(labels),
        torch.from_numpy(positions),
        visible[:, None],
    )


def _losses(vlm: TinyVlm, namer: Any, digits: Digits, seed: int) -> Iterator[Tensor]:
    random = np.random.default_rng(seed)
    for part in (vlm.vision, vlm.projector, vlm.language):
        part.train()
    while True:
        drawn = scenes(digits, _CANVASES, random, TURN)
        taught = lesson(questions(drawn.digits), _CANVASES, vlm.patches)
        present = torch.from_numpy((drawn.digits[:, :, None] == np.arange(10)).any(1)).float()
        with torch.autocast("cpu", torch.bfloat16):
            seen = vlm.vision(
                pixel_values=torch.from_numpy(drawn.pixels), output_hidden_states=True
            )
            named = namer(seen.last_hidden_state[:, 0])
            logits = _logits(vlm, seen.hidden_states[-2][:, 1:], taught)
        answers = functional.cross_entropy(
            logits.float().flatten(0, 1), taught.labels.flatten(), ignore_index=_IGNORED
        )
        digits_seen = functional.binary_cross_entropy_with_logits(named.float(), present)
        yield answers + _CLASS_WEIGHT * digits_seen


def _logits(vlm: TinyVlm, features: Tensor, taught: Lesson) -> Tensor:
    lowest = torch.finfo(torch.float32).min
    mask = torch.zeros(taught.visible.shape).masked_fill(~taught.visible, lowest)
    logits: Tensor = vlm.language(
        inputs_embeds=vlm.prompt_embeddings(features, taught.ids),
        attention_mask=mask,
        position_ids=taught.positions,
        use_cache=False,
    ).logits
    return logits[:, vlm.patches :]


def _majority(asked: list[Question]) -> dict[str, float]:
    """Return how often the most frequent answer is right: of all, and of each question."""
    whole = Counter(q.answer for q in asked)
    pairs = Counter((q.text, q.answer) for q in asked)
    best: Counter[str] = Counter()
    for (text, _), count in pairs.items():
        best[text] = max(best[text], count)
    return {
        "majority_accuracy": whole.most_common(1)[0][1] / len(asked),
        "majority_accuracy_by_question": best.total() / len(asked),
    }


def _save(vlm: TinyVlm) -> None:
    from safetensors.torch import save_file

    (FOLDER / "projector").mkdir(parents=True, exist_ok=True)
    weights = {name: w.half().contiguous() for name, w in vlm.projector.state_dict().items()}
    save_file(weights, FOLDER / "projector" / "model.safetensors")
    vlm.vision.eval().half().save_pretrained(FOLDER / "vision")
    vlm.language.eval().half().save_pretrained(FOLDER / "language")
    (FOLDER / "language" / "generation_config.json").unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=_STEPS)
    parser.add_argument("--resume", action="store_true", help="train the stored model on")
    arguments = parser.parse_args()
    file = FOLDER / "training.json"
    stored = json.loads(file.read_text()) if arguments.resume else None
    facts = train(arguments.seed, arguments.steps, stored)
    file.write_text(json.dumps(facts, indent=2) + "\n")
