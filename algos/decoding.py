"""Run a method on a decoder: prefill a prompt, then follow a known text token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Calibration, Layout, Method
from algos.emit import Emitter
from algos.harness import Progress, build_trace, layer_runner, make_batch, running
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
    positions: Tensor | None = None  # (sequence, token) of the prompt, as the model counts them;
    # what follows comes after `tokens_dense`. None: 0, 1, ...
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

    nats: tuple[FloatArray, ...]  # of each group (sequence, n): loss of the following tokens
    predicted: tuple[IntArray, ...]  # (sequence, n) most likely token in their places
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
    groups: Sequence[Texts],
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
        groups: what it reads and predicts; sequences are numbered through all groups.
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

    _check(loaded, groups, seed)
    emitter = Emitter(loaded.shape, record_scores=record_scores, facts=facts)
    # where layers hold unequal numbers of tokens of each text, texts cannot run together
    size = 1 if layer_runner(method, cached=True).alone else BATCH_SIZE
    run = _Run(method, loaded, seed, facts, calibration, emitter)
    count, first = sum(len(texts.following) for texts in groups), 0
    nats, predicted = [], []
    with torch.inference_mode():
        for texts in groups:
            found = []
            for start in range(0, len(texts.following), size):
                rows = np.arange(start, min(start + size, len(texts.following)))
                found.append(run.batch(texts, rows, first + rows))
                if progress is not None:
                    progress(first + int(rows[-1]) + 1, count)
            first += len(texts.following)
            nats.append(np.concatenate([losses for losses, _ in found]))
            predicted.append(np.concatenate([tokens for _, tokens in found]))
    return DecoderRun(
        nats=tuple(nats),
        predicted=tuple(predicted),
        method=method,
        loaded=loaded,
        workload=workload,
        seed=seed,
        emitter=emitter,
    )


class _Run:
    """One run of a method over all batches."""

    def __init__(
        self,
        method: Method,
        loaded: LoadedModel,
        seed: int,
        facts: StaticFacts | None,
        calibration: Any,
        emitter: Emitter,
    ) -> None:
        self._method, self._loaded, self._seed = method, loaded, seed
        self._facts, self._calibration, self._emitter = facts, calibration, emitter

    def batch(self, texts: Texts, rows: IntArray, numbers: IntArray) -> tuple[FloatArray, IntArray]:
        """Return losses and predictions (batch, n) of some rows of a group.

        Args:
            texts: the group.
            rows: (batch,) in the group.
            numbers: (batch,) of the sequences in the trace.
        """
        prompt, following = texts.prompt[rows], texts.following[rows]
        tokens = prompt.shape[1]
        batch = make_batch(
            self._loaded.shape,
            tokens,
            numbers,
            self._seed,
            layout=texts.layout,
            calibration=self._calibration,
            decodes=True,
        )
        self._emitter.batch(numbers, texts.tokens_dense or tokens, tokens, following.shape[1] - 1)
        with running(
            self._method,
            batch,
            numbers,
            self._emitter,
            self._loaded.model,
            facts=self._facts,
            cached=True,
        ) as session:
            positions = None if texts.positions is None else texts.positions[rows]
            places = _places(positions, texts.tokens_dense or tokens, tokens, following)
            logits = _follow(self._loaded.model, session.resume, prompt, following, places)
        if not bool(logits.isfinite().all()):
            raise InputError(f"logits must be finite, one of sequences {numbers[0]}+ is not")
        chosen = logits.log_softmax(-1).gather(2, following.unsqueeze(-1)).squeeze(-1)
        return -chosen.numpy(), logits.argmax(-1).numpy()


def calibrate(
    method: Method, loaded: LoadedModel, tokens: Tensor, embeddings: Tensor | None = None
) -> Any:
    """Return what a method learns from calibration prompts; None if it needs none.

    Args:
        method: any.
        loaded: the unpruned decoder.
        tokens: (sequence, token) ids; visual tokens have ids that no other token has.
        embeddings: (sequence, token, hidden) what is read instead; None: the tokens.
    """
    import torch

    if not method.calibrated:
        return None
    recorder = Recorder()
    read = {"input_ids": tokens} if embeddings is None else {"inputs_embeds": embeddings}
    with torch.inference_mode(), attached(loaded.model, recorder):
        loaded.model(**read, use_cache=False)
    return method.calibrate(Calibration(tokens=tokens, layers=recorder.layers))


def _places(positions: Tensor | None, tokens_dense: int, tokens: int, following: Tensor) -> Tensor:
    """Return the positions (batch, prompt + following) as the model counts them."""
    import torch

    batch, n = following.shape
    first = torch.arange(tokens).expand(batch, -1) if positions is None else positions
    later = torch.arange(tokens_dense, tokens_dense + n).expand(batch, -1)
    return torch.cat((first, later), 1)


def _follow(
    model: Any,
    resume: Callable[[int], None],
    prompt: Tensor,
    following: Tensor,
    places: Tensor,
) -> Tensor:
    """Return the logits (batch, n, vocabulary) for the tokens that follow a prompt."""
    import torch

    tokens, n = prompt.shape[1], following.shape[1]
    name = "input_ids" if prompt.ndim == 2 else "inputs_embeds"
    # a mask of ones: without one, transformers takes gaps in the positions for other sequences
    visible = torch.ones(prompt.shape[:2], dtype=torch.int64)
    out = model(
        **{name: prompt},
        attention_mask=visible,
        position_ids=places[:, :tokens],
        use_cache=False,
    )
    logits = [out.logits[:, -1]]
    for i in range(n - 1):
        resume(tokens + i)
        at = places[:, tokens + i : tokens + i + 1]
        out = model(input_ids=following[:, i : i + 1], position_ids=at, use_cache=False)
        logits.append(out.logits[:, -1])
    return torch.stack(logits, 1)


def _check(loaded: LoadedModel, groups: Sequence[Texts], seed: int) -> None:
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    limit = loaded.model.config.max_position_embeddings
    for texts in groups:
        tokens = texts.prompt.shape[1] + texts.following.shape[1]
        if tokens > limit:
            raise InputError(
                f"prompt and following tokens must be at most {limit} for {loaded.name}, "
                f"not {tokens}"
            )
