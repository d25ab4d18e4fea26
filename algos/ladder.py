"""What each step of the compression costs: perplexity of a decoder on held-out text."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from algos.attention.sink_window import SinkWindow
from algos.compress import Compression, Criterion, check_sizes, compress
from algos.low_bit import low_bit
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.packed import BEAT_BITS, PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

STEPS = ("FP32", "2:4", "+W8", "+W4", "+W2", "+A8", "+KV4", "+Λ")
"""2:4 pruning; its weights in 8, 4 or 2 bits; then, on the 2-bit weights, one upon the other: 8-bit
inputs of linear layers, low-bit attention, sinks and a window."""
_NATS_LIMIT = 700.0  # exp of more overflows

Progress = Callable[[int, int], None]  # steps done, steps in all


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step."""

    step: str
    nats_per_token: float
    perplexity: float
    bits_per_weight: float | None  # of linear layers as streamed; None: float, not packed


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """All steps of a decoder, and its weights in 2 bits as they are stored."""

    rungs: tuple[Rung, ...]
    chance: Rung  # the control: 2:4 with a random mask
    packed: dict[str, PackedMatrix]


def climb(
    loaded: LoadedModel,
    held_out: Tensor,
    calibration: Tensor,
    *,
    prune: Criterion = "sparsegpt",
    window: SinkWindow,
    progress: Progress | None = None,
) -> Ladder:
    """Measure every step; the loaded model stays as it is.

    Args:
        loaded: a decoder.
        held_out: (windows, tokens) token ids; loss is the mean over all predictions in windows.
        calibration: (samples, tokens) token ids of other text.
        prune: criterion of 2:4 pruning.
        window: sinks and recent tokens of the last step.
        progress: called after each step.

    Raises:
        InputError: see `compress` and `low_bit`; or a loss is not finite, naming the step.
    """
    rungs: list[Rung] = []
    packed: dict[str, PackedMatrix] = {}

    def measure(step: str, model: LoadedModel, bits: float | None) -> None:
        nats = mean_nats(model, held_out)
        if not nats < _NATS_LIMIT:
            raise InputError(f"the loss of step {step} must be finite, not {nats:g} nats a token")
        rungs.append(
            Rung(step=step, nats_per_token=nats, perplexity=math.exp(nats), bits_per_weight=bits)
        )
        if progress is not None:
            progress(len(rungs), len(STEPS) + 1)

    def own_copy() -> LoadedModel:
        return replace(loaded, model=copy.deepcopy(loaded.model))

    check_sizes(loaded.model, WeightFormat())
    measure(STEPS[0], loaded, None)
    model, bits = own_copy(), None
    compress(model.model, calibration, Compression(prune="random", weights=None))
    measure("2:4 at random", model, bits)
    for step, width in zip(STEPS[1:5], (None, 8, 4, 2), strict=True):
        form = None if width is None else WeightFormat(bits=width, zero_bits=width)
        model = own_copy()
        packed = compress(model.model, calibration, Compression(prune=prune, weights=form))
        bits = bits_per_weight(packed) if packed else None
        measure(step, model, bits)
    switches = ((False, None), (True, None), (True, window))
    for step, (attention, kept) in zip(STEPS[5:], switches, strict=True):
        with low_bit(model, attention=attention, window=kept):
            measure(step, model, bits)
    first, chance, *rest = rungs
    return Ladder(rungs=(first, *rest), chance=chance, packed=packed)


def bits_per_weight(packed: dict[str, PackedMatrix]) -> float:
    """Return bits streamed for one weight of the unpruned matrices, beats filled up."""
    beats = sum(m.format.matrix_beats(m.rows, m.columns) for m in packed.values())
    return beats * BEAT_BITS / sum(m.rows * m.columns for m in packed.values())


def mean_nats(loaded: LoadedModel, windows: Tensor) -> float:
    """Return the mean loss of next-token prediction over (windows, tokens), nats a token."""
    import torch

    with torch.inference_mode():
        losses: list[float] = [
            loaded.model(input_ids=tokens[None], labels=tokens[None], use_cache=False).loss.item()
            for tokens in windows
        ]
    return sum(losses) / len(losses)
