"""Prompts of a vision-language model: visual tokens, chosen or all, then a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Layout, Method
from algos.decoding import Texts
from algos.harness import make_generators
from algos.static.calibrate import IGNORED, Calibration, answers
from algos.visual.base import Selected, VisualInput, VisualMethod
from workloads.capture import Recorder, attached
from workloads.digits import END, Question, Scenes, text_ids
from workloads.errors import InputError
from workloads.tiny_models import TinyVlm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What the vision encoder made of some canvases; everything is (canvas, ...)."""

    pixels: Tensor
    encoder_features: Tensor  # (canvas, patch, hidden), before the projector
    attention: tuple[Tensor, ...]  # of each layer, (canvas, head, token, token)
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Questions of one text with answers of one length."""

    numbers: list[int]  # in the list of questions
    texts: Texts


def encode(vlm: TinyVlm, scenes: Scenes) -> Encoded:
    """Let the vision encoder see all canvases."""
    import torch

    recorder = Recorder()
    pixels = torch.from_numpy(scenes.pixels)
    with torch.inference_mode(), attached(vlm.vision, recorder):
        features = vlm.features(pixels)
    layers = recorder.layers
    return Encoded(
        pixels=pixels,
        encoder_features=features,
        attention=tuple(layer.probability for layer in layers),
        keys=tuple(layer.step.key for layer in layers),
        values=tuple(layer.step.value for layer in layers),
    )


def ask(
    vlm: TinyVlm,
    encoded: Encoded,
    questions: Sequence[Question],
    method: Method | None = None,
    seed: int = 0,
) -> list[Asked]:
    """Return the prompts of questions with the answers that should follow, in groups.

    Args:
        vlm: the model.
        encoded: its canvases.
        questions: about them.
        method: one that chooses visual tokens does so here; None or another: all stay.
        seed: of methods that draw numbers.

    Raises:
        InputError: no question, or a method that chooses a token that is not there.
    """
    import torch

    if not questions:
        raise InputError("questions must be at least 1, there are 0")
    groups: dict[tuple[str, int], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault((question.text, len(question.answer)), []).append(number)
    found = []
    with torch.inference_mode():
        for (text, _), numbers in groups.items():
            canvases = [questions[n].canvas for n in numbers]
            ids = torch.from_numpy(text_ids(text).copy())
            prompt, visual = _prompt(vlm, encoded, canvases, ids, method, (seed, numbers))
            following = np.stack([text_ids(questions[n].answer + END) for n in numbers])
            texts = Texts(
                prompt=prompt,
                following=torch.from_numpy(following),
                layout=_layout(vlm, visual.shape[1]),
                positions=_positions(vlm.patches, visual, len(ids)),
                tokens_dense=vlm.patches + len(ids),
            )
            found.append(Asked(numbers=numbers, texts=texts))
    return found


def _prompt(
    vlm: TinyVlm,
    encoded: Encoded,
    canvases: list[int],
    question: Tensor,
    method: Method | None,
    drawn: tuple[int, list[int]],
) -> tuple[Tensor, Tensor]:
    """Return embeddings (canvas, token, width), and the visual tokens (canvas, kept) in front."""
    import torch

    features = vlm.projector(encoded.encoder_features[canvases])
    words = vlm.language.get_input_embeddings()(question).expand(len(features), -1, -1)
    visual = torch.arange(vlm.patches).expand(len(features), -1)
    if isinstance(method, VisualMethod):
        seen = VisualInput(
            features=features,
            encoder_features=encoded.encoder_features[canvases],
            attention=[layer[canvases] for layer in encoded.attention],
            keys=[layer[canvases] for layer in encoded.keys],
            values=[layer[canvases] for layer in encoded.values],
            grid=vlm.grid,
            pixels=encoded.pixels[canvases],
            text=words,
            project=vlm.projector,
            generators=make_generators(drawn[0], drawn[1]),
        )
        chosen = method.select(seen)
        features, visual = _selected(features, chosen), chosen.kept
    return torch.cat((features, words), 1), visual


def _layout(vlm: TinyVlm, visual: int) -> Layout:
    return Layout(visual=range(visual), grid=vlm.grid if visual == vlm.patches else None)


def _positions(patches: int, visual: Tensor, question_tokens: int) -> Tensor:
    """Return where the tokens of shortened prompts stood in the whole ones, (canvas, token).

    The model keeps these positions: it was trained with every patch in its place and finds the
    quadrants by them. LLaVA's authors number the tokens anew.
    """
    import torch

    words = torch.arange(patches, patches + question_tokens).expand(len(visual), -1)
    return torch.cat((visual, words), 1)


def _selected(features: Tensor, chosen: Selected) -> Tensor:
    """Return the features (batch, kept, width) that enter the language model."""
    if chosen.merge is not None:
        return chosen.merge @ features
    rows = chosen.kept.unsqueeze(-1).expand(-1, -1, features.shape[-1])
    return features.gather(1, rows)


def answering(vlm: TinyVlm, asked: Sequence[Asked]) -> Calibration:
    """Return samples of the language model: a prompt and its answer each, which alone is predicted.

    Args:
        vlm: the model.
        asked: prompts that nothing was taken out of.
    """
    import torch

    embed = vlm.language.get_input_embeddings()
    inputs, targets = [], []
    with torch.no_grad():
        for texts in (group.texts for group in asked):
            for prompt, following in zip(texts.prompt, texts.following, strict=True):
                inputs.append(torch.cat((prompt, embed(following)))[None])
                targets.append(torch.cat((torch.full((len(prompt),), IGNORED), following)))
    return answers([{"inputs_embeds": x, "use_cache": False} for x in inputs], targets)


def answered(asked: Sequence[Asked], predicted: Sequence[Any], count: int) -> list[bool]:
    """Tell of each question whether every byte of its answer was predicted, its end included.

    That is exactly when greedy decoding gives the answer.
    """
    right = [False] * count
    for group, tokens in zip(asked, predicted, strict=True):
        for number, good in zip(
            group.numbers, (tokens == group.texts.following.numpy()).all(1).tolist(), strict=True
        ):
            right[number] = good
    return right
