"""Run a method on a decoder: prefill a prompt, then follow a known text token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Calibration, Layout, Method
from algos.emit import Emitter
from algos.harness import Progress, build_trace, make_batch, running
from algos.static.facts import StaticFacts
from workloads.capture import Recorder, attached
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE = 8
_PLAIN = Layout()
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

_NOTES = (
    "layers with weights run in float32, Q, K and V in the bits that each row states; the text is "
    "given, so every method decodes the same tokens"
)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Prompts of one length, and the tokens that follow each."""

    prompt: Tensor  # (sequence, token) ids, or (sequence, token, hidden) embeddings
    following: Tensor  # (sequence, n) ids to predict: the prefill predicts the first
    layout: Layout = _PLAIN
    tokens_dense: int | None = None  # of the prompt before it was shortened; None: it was not

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InputError: no sequence, an empty prompt, or nothing to predict.
        """
        sequences, tokens = self.prompt.shape[:2]
        for what, n in (
            ("sequences", sequences),
            ("prompt tokens", tokens),
            ("following tokens", self.following.shape[1]),
        ):
            if n < 1:
                raise InputError(f"texts must have at least 1 of their {what}, they have 0")


@dataclass(frozen=True, kw_only=True)
class DecoderRun:
    """What one run of a method gave: predictions, and a trace once accuracy is known."""

    nats: FloatArray  # (sequence, n) loss of each following token
    predicted: IntArray  # (sequence, n) most likely token in its place
    method: Method
    loaded: LoadedModel
    workload: str
    seed: int
    emitter: Emitter

    def trace(self, accuracy: dict[str, float]) -> Trace:
        """Build the checked trace of this run with the accuracy measured on its predictions."""
        return build_trace(
            self.emitter, self.method, self.workload, self.seed, accuracy, notes=_NOTES
        )


def run_decoder(
    method: Method,
    loaded: LoadedModel,
    texts: Texts,
    *,
    workload: str,
    seed: int = 0,
    facts: StaticFacts | None = None,
    calibration: Any = None,
    progress: Progress | None = None,
    record_scores: bool = False,
) -> DecoderRun:
    """Run a decoder under a pruning method and record everything.

    Args:
        method: decides what is pruned.
        loaded: a decoder that accepts `position_ids`.
        texts: what it reads and predicts.
        workload: name for the trace.
        seed: of the methods that draw numbers; each sequence has a generator of its own.
        facts: what was pruned of the model before; None: nothing was.
        calibration: what `method.calibrate` returned.
        progress: called after each batch with the sequences done and their number.
        record_scores: keep in the trace the numbers that top-k selectors see.

    Raises:
        InputError: the seed is negative, the text is longer than the model's context, or the
            model's numbers are not finite.
    """
    import torch

    _check(loaded, texts, seed)
    emitter = Emitter(loaded.shape, record_scores=record_scores, facts=facts)
    count, n = texts.following.shape
    nats, predicted = np.zeros((count, n), np.float32), np.zeros((count, n), np.int64)
    with torch.inference_mode():
        for start in range(0, count, BATCH_SIZE):
            rows = np.arange(start, min(start + BATCH_SIZE, count))
            prompt, following = texts.prompt[rows], texts.following[rows]
            tokens = prompt.shape[1]
            batch = make_batch(
                loaded.shape, tokens, rows, seed, layout=texts.layout, calibration=calibration
            )
            emitter.batch(rows, texts.tokens_dense or tokens, tokens, n - 1)
            with running(
                method, batch, rows, emitter, loaded.model, facts=facts, cached=True
            ) as session:
                logits = _follow(loaded.model, session.resume, prompt, following)
            if not bool(logits.isfinite().all()):
                raise InputError(f"every logit must be finite, one of sequences {start}+ is not")
            chosen = logits.log_softmax(-1).gather(2, following.unsqueeze(-1)).squeeze(-1)
            nats[rows], predicted[rows] = -chosen.numpy(), logits.argmax(-1).numpy()
            if progress is not None:
                progress(int(rows[-1]) + 1, count)
    return DecoderRun(
        nats=nats,
        predicted=predicted,
        method=method,
        loaded=loaded,
        workload=workload,
        seed=seed,
        emitter=emitter,
    )


def calibrate(method: Method, loaded: LoadedModel, tokens: Tensor) -> Any:
    """Return what a method learns from calibration text; None if it needs none.

    Args:
        method: any.
        loaded: the unpruned decoder.
        tokens: (sequence, token) ids.
    """
    import torch

    if not method.calibrated:
        return None
    recorder = Recorder()
    with torch.inference_mode(), attached(loaded.model, recorder):
        loaded.model(input_ids=tokens, use_cache=False)
    return method.calibrate(Calibration(tokens=tokens, layers=recorder.layers))


def _follow(model: Any, resume: Callable[[int], None], prompt: Tensor, following: Tensor) -> Tensor:
    """Return the logits (batch, n, vocabulary) for the tokens that follow a prompt."""
    import torch

    tokens, n = prompt.shape[1], following.shape[1]
    name = "input_ids" if prompt.ndim == 2 else "inputs_embeds"
    places = torch.arange(tokens + n).expand(len(prompt), -1)
    out = model(**{name: prompt}, position_ids=places[:, :tokens], use_cache=False)
    logits = [out.logits[:, -1]]
    for i in range(n - 1):
        resume(tokens + i)
        at = places[:, tokens + i : tokens + i + 1]
        out = model(input_ids=following[:, i : i + 1], position_ids=at, use_cache=False)
        logits.append(out.logits[:, -1])
    return torch.stack(logits, 1)


def _check(loaded: LoadedModel, texts: Texts, seed: int) -> None:
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    limit = loaded.model.config.max_position_embeddings
    tokens = texts.prompt.shape[1] + texts.following.shape[1]
    if tokens > limit:
        raise InputError(
            f"prompt and following tokens must be at most {limit} for {loaded.name}, not {tokens}"
        )
