"""Where heads look: sinks, neighbours, what followed before, the class token, the asked region.

The first half are pure measures of probabilities (batch, head, query, key), one number a head; the
second half runs a tiny model on what it has not been trained on and collects them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads.capture import Recorder, attached
from workloads.digits import QUADRANTS, held_out_images, held_out_questions, ink_patches
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.tiny_models import TinyVlm

SINKS = 4  # first tokens (StreamingLLM, arXiv:2309.17453, keeps four)
NEAREST = 16  # tokens, the present one included
MATCH = 3  # bytes that must have come before, for a byte says less than a token of words does

LABELS = {
    "sinks": f"share on the first {SINKS} tokens",
    "previous": "share on the token before",
    "nearest": f"share on the nearest {NEAREST} tokens",
    "follows": f"share on what followed the last {MATCH} bytes before",
    "distance": "mean distance, tokens",
    "entropy": "entropy, nats",
    "class_token": "share of patches on the class token",
    "class_on_ink": "share of the class token on digits",
    "ink": "share of patches on digits",
    "visual": "share of the last token on the image",
    "visual_ink": "share of the last token on digits",
    "asked": "share of the last token on the asked quadrant",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure of all heads of one stack."""

    part: str  # of the model: decoder, vision or language
    name: str  # key of LABELS
    values: list[list[float]]  # layer by layer, head by head
    even: float | None  # what even attention to all visible tokens would give; None: not a share

    @property
    def label(self) -> str:
        """Return what the numbers are, in words."""
        return LABELS[self.name]


def text_measures(probability: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Return measures (head,) of causal attention, over the queries of the second half.

    Args:
        probability: (batch, head, token, token).
        ids: (batch, token), at least 2 tokens.

    Returns:
        `sinks`, `previous`, `nearest`, `follows`: shares of attention; `distance` in tokens;
        `entropy` in nats. `follows` is a mean over queries whose last bytes came before only.

    Raises:
        InputError: fewer than 2 tokens.
    """
    import torch

    tokens = ids.shape[1]
    if tokens < 2:
        raise InputError(f"text must have at least 2 tokens, not {tokens}")
    place = torch.arange(tokens)
    back = place[:, None] - place[None, :]
    later = (place >= tokens // 2).expand(ids.shape)
    follows = following(ids, MATCH)
    return {
        "sinks": share(probability, (place < SINKS).expand(tokens, -1), later),
        "previous": share(probability, back == 1, later),
        "nearest": share(probability, (back >= 0) & (back < NEAREST), later),
        "follows": share(probability, follows, later & follows.any(-1)),
        "distance": share(probability, back, later),
        "entropy": mean_over(entropy(probability), later),
    }


def following(ids: Tensor, match: int) -> Tensor:
    """Tell which keys followed an earlier occurrence of a query's last `match` tokens.

    Args:
        ids: (batch, token).
        match: tokens, the query's own the last of them.

    Returns:
        (batch, query, key), booleans; a key is the query itself at latest.
    """
    equal = ids[:, :, None] == ids[:, None, :]
    same = equal.clone()
    for earlier in range(1, match):
        same[:, :earlier] = False
        same[:, :, :earlier] = False
        same[:, earlier:, earlier:] &= equal[:, :-earlier, :-earlier]
    follows = same.new_zeros(same.shape)
    follows[:, :, 1:] = same[:, :, :-1]
    return follows.tril()


def vision_measures(probability: Tensor, ink: Tensor) -> dict[str, Tensor]:
    """Return measures (head,) of an encoder whose first token is the class token.

    Args:
        probability: (batch, head, 1 + patches, 1 + patches).
        ink: (batch, patches), booleans: the patch shows a part of a digit.
    """
    import torch

    batch, patches = ink.shape
    first = torch.zeros(batch, 1 + patches, dtype=torch.bool)
    first[:, 0] = True
    inked = torch.cat((first[:, :1] & False, ink), 1)
    to_ink = inked[:, None, :].expand(-1, 1 + patches, -1)
    return {
        "class_token": share(probability, first[:, None, :].expand_as(to_ink), ~first),
        "class_on_ink": share(probability, to_ink, first),
        "ink": share(probability, to_ink, ~first),
        "entropy": mean_over(entropy(probability), ~(first & False)),
    }


def answer_measures(probability: Tensor, ink: Tensor, asked: Tensor) -> dict[str, Tensor]:
    """Return measures (head,) of the last token of a prompt, which begins the answer.

    Args:
        probability: (batch, head, query, key); the first keys are the patches.
        ink: (batch, patches), booleans.
        asked: (batch, patches), booleans: the patch lies in the quadrant asked about.
    """
    import torch

    batch, patches = ink.shape
    last = probability[:, :, -1:]
    only = torch.ones(batch, 1, dtype=torch.bool)
    rest = torch.zeros(batch, last.shape[-1] - patches, dtype=torch.bool)
    keys = {"visual": torch.ones_like(ink), "visual_ink": ink, "asked": asked}
    found = {
        name: share(last, torch.cat((these, rest), 1)[:, None], only)
        for name, these in keys.items()
    }
    sinks = (torch.arange(last.shape[-1]) < SINKS).expand(1, -1)
    return {
        "sinks": share(last, sinks, only),
        **found,
        "entropy": mean_over(entropy(last), only),
    }


def share(probability: Tensor, keys: Tensor, queries: Tensor) -> Tensor:
    """Return (head,) the attention on some keys, a mean over some queries.

    Args:
        probability: (batch, head, query, key).
        keys: weights or booleans, (query, key) or (batch, query, key).
        queries: (batch, query), booleans; none at all give 0.
    """
    weights = keys.to(probability.dtype)
    weights = weights if weights.ndim == 3 else weights[None]
    return mean_over((probability * weights[:, None]).sum(-1), queries)


def mean_over(values: Tensor, queries: Tensor) -> Tensor:
    """Return (head,) the mean of (batch, head, query) over the queries (batch, query) chosen."""
    chosen = queries[:, None].to(values.dtype)
    return (values * chosen).sum((0, 2)) / chosen.sum().clamp(min=1)


def entropy(probability: Tensor) -> Tensor:
    """Return the entropy of each row, nats: (batch, head, query)."""
    import torch

    logs: Tensor = torch.special.entr(probability)
    return logs.sum(-1)


def measure_decoder(model: Any, windows: Any) -> list[Measured]:
    """Measure a causal language model on windows of token ids (windows, tokens)."""
    import torch

    runs = []
    for number in range(len(windows)):
        window = torch.from_numpy(windows[number : number + 1].copy())
        recorder = Recorder()
        with torch.inference_mode(), attached(model, recorder):
            model(input_ids=window, use_cache=False)
        probabilities = [layer.probability for layer in recorder.layers]
        even = torch.ones_like(probabilities[0][:, :1]).tril()
        runs.append(
            [text_measures(p, window) for p in (*probabilities, even / even.sum(-1, keepdim=True))]
        )
    return _collected("decoder", runs)


def measure_vit(model: Any, canvases: int, part: str = "vision") -> list[Measured]:
    """Measure a vision transformer on held-out digits, one on each canvas."""
    return _vision(model, held_out_images().images[:canvases], part)


def measure_vlm(vlm: TinyVlm, canvases: int) -> list[Measured]:
    """Measure both stacks of a vision-language model; the questions are those about quadrants."""
    import torch

    scenes, questions = held_out_questions(canvases)
    rows, columns = (torch.arange(side) >= side // 2 for side in vlm.grid)
    quadrant = (2 * rows[:, None] + columns[None, :]).flatten()
    pixels, ink = torch.from_numpy(scenes.pixels), torch.from_numpy(scenes.ink)
    runs = []
    for number, where in enumerate(QUADRANTS):
        ids = next(torch.from_numpy(q.ids) for q in questions if q.text == f"{where}?")
        recorder = Recorder()
        with torch.inference_mode():
            prompt = vlm.prompt_embeddings(vlm.features(pixels), ids)
            with attached(vlm.language, recorder):
                vlm.language(inputs_embeds=prompt, use_cache=False)
        asked = (quadrant == number).expand_as(ink)
        probabilities = [layer.probability for layer in recorder.layers]
        even = torch.full_like(probabilities[0][:, :1], 1 / prompt.shape[1])
        runs.append([answer_measures(p, ink, asked) for p in (*probabilities, even)])
    return [*_vision(vlm.vision, scenes.pixels, "vision"), *_collected("language", runs)]


def _vision(model: Any, pixels: Any, part: str) -> list[Measured]:
    import torch

    recorder = Recorder()
    with torch.inference_mode(), attached(model, recorder):
        model(pixel_values=torch.from_numpy(pixels))
    ink = torch.from_numpy(ink_patches(pixels))
    probabilities = [layer.probability for layer in recorder.layers]
    even = torch.full_like(probabilities[0][:, :1], 1 / probabilities[0].shape[-1])
    return _collected(part, [[vision_measures(p, ink) for p in (*probabilities, even)]])


def _collected(part: str, runs: Sequence[Sequence[dict[str, Tensor]]]) -> list[Measured]:
    """Average runs of one dictionary a layer; the last of each is that of even attention."""
    import torch

    measured = []
    for name in runs[0][0]:
        *layers, even = (torch.stack(m).mean(0) for m in zip(*_columns(runs, name), strict=True))
        plain = name in ("distance", "entropy")
        measured.append(
            Measured(
                part=part,
                name=name,
                values=[layer.tolist() for layer in layers],
                even=None if plain else float(even[0]),
            )
        )
    return measured


def _columns(runs: Sequence[Sequence[dict[str, Tensor]]], name: str) -> list[list[Tensor]]:
    return [[layer[name] for layer in run] for run in runs]
