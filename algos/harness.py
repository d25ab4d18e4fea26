"""Run a method on a model: the one place where methods, models and traces meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Batch, Decision, Method
from algos.emit import NOTES, Emitter, LayerRecord
from workloads.attention import AttentionOutput
from workloads.capture import attached
from workloads.errors import InputError
from workloads.models import LoadedModel, mean_pool
from workloads.session import LayerInput
from workloads.shapes import ModelShape
from workloads.step import AttentionStep
from workloads.trace import Trace, TraceBuilder, TraceHeader

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE = 64
Progress = Callable[[int, int], None]  # sequences done, sequences in all
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class MethodRun:
    """What one run of a method gave: embeddings, and a trace once accuracy is known."""

    embeddings: FloatArray  # (sequence, hidden) unit vectors, in the order of the input
    method: Method
    shape: ModelShape
    workload: str
    seed: int
    emitter: Emitter

    def trace(self, accuracy: dict[str, float]) -> Trace:
        """Build the checked trace of this run with the accuracy measured on its embeddings."""
        builder = TraceBuilder()
        self.emitter.rows.write(builder)
        header = TraceHeader(
            workload=self.workload,
            model=self.shape,
            method=self.method.name,
            parameters=self.method.model_dump(),
            seed=self.seed,
            accuracy=accuracy,
            synthetic=False,
            notes=NOTES,
        )
        return builder.finish(header)


def run_method(
    method: Method,
    loaded: LoadedModel,
    token_lists: Sequence[Sequence[int]],
    *,
    workload: str,
    seed: int = 0,
    progress: Progress | None = None,
    record_scores: bool = True,
) -> MethodRun:
    """Run an encoder under a pruning method and record everything.

    Sequences of equal length run together, so nothing is ever padded. The embedding of a
    sequence is the mean of the last hidden states of the tokens that survive.

    Args:
        method: decides what is pruned.
        loaded: an encoder.
        token_lists: token ids of each sequence.
        workload: name for the trace.
        seed: of the methods that draw numbers; each sequence has a generator of its own.
        progress: called after each batch with the sequences done and their number.
        record_scores: keep in the trace the numbers that top-k selectors see.

    Raises:
        InputError: the seed is negative, a sequence is empty or longer than the model allows,
            or the model's numbers are not finite.
    """
    import torch

    _check(loaded, token_lists, seed)
    emitter = Emitter(loaded.shape, record_scores=record_scores)
    runner = _Runner(method, loaded.shape, emitter, seed)
    embeddings = np.zeros((len(token_lists), loaded.shape.hidden), np.float32)
    done = 0
    with torch.inference_mode(), attached(loaded.model, runner):
        for sequences in _batches(token_lists):
            tokens = torch.tensor([list(token_lists[i]) for i in sequences])
            runner.begin(sequences, tokens.shape[1])
            output = loaded.model(input_ids=tokens, use_cache=False)
            embeddings[sequences] = mean_pool(output.last_hidden_state).numpy()
            done += len(sequences)
            if progress is not None:
                progress(done, len(token_lists))
    if not np.isfinite(embeddings).all():
        bad = int(np.argmin(np.isfinite(embeddings).all(1)))
        raise InputError(f"every embedding must be finite, that of sequence {bad} is not")
    return MethodRun(
        embeddings=embeddings,
        method=method,
        shape=loaded.shape,
        workload=workload,
        seed=seed,
        emitter=emitter,
    )


class _Runner:
    """The handler of one run: applies each decision before the next layer."""

    _sequences: np.ndarray[Any, Any]  # numbers of the sequences of the batch
    _state: Any  # the method's own
    _decision: Decision  # after the layer before
    _heads: Tensor  # (batch, alive) ids
    _importance: Tensor | None  # (batch, token) of the tokens that entered the layer

    def __init__(self, method: Method, shape: ModelShape, emitter: Emitter, seed: int) -> None:
        self._method, self._shape, self._emitter, self._seed = method, shape, emitter, seed

    def begin(self, sequences: np.ndarray[Any, Any], tokens: int) -> None:
        """Start a batch of sequences of `tokens` tokens each."""
        import torch

        generators = tuple(
            torch.Generator().manual_seed(_mix(self._seed, int(number))) for number in sequences
        )
        batch = Batch(shape=self._shape, tokens=tokens, generators=generators)
        self._sequences = sequences
        self._state = self._method.begin(batch)
        self._decision, self._importance = Decision(), None
        self._heads = torch.arange(self._shape.heads).expand(len(sequences), -1)
        self._emitter.batch(sequences, tokens)

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Drop what the decision after the last layer dropped."""
        kept, importance = self._decision.kept_tokens, self._decision.token_importance
        if self._decision.kept_heads is not None:
            self._heads = self._heads.gather(1, self._decision.kept_heads)
        if kept is not None:
            importance = None if importance is None else importance.gather(1, kept)
            entry = entry.keep(kept)
        self._importance = importance
        return entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Let the method compute the alive heads; pruned heads put out zeros."""
        alive = self._alive(step)
        outcome = self._method.attend(alive, self._state)
        self._decision = self._method.after_layer(alive, outcome, self._state)
        self._emitter.layer(
            LayerRecord(
                sequences=self._sequences,
                step=alive,
                heads=self._heads.numpy(),
                importance=self._importance,
                outcome=outcome,
                decision=self._decision,
            )
        )
        return AttentionOutput(
            output=self._all_heads(outcome.output), probability=self._all_heads(outcome.probability)
        )

    def _alive(self, step: AttentionStep) -> AttentionStep:
        """Return the step of the alive heads, with K and V of each one's key head."""
        if self._heads.shape[1] == self._shape.heads == self._shape.kv_heads:
            return step
        kv_heads = self._heads // (self._shape.heads // self._shape.kv_heads)
        return replace(
            step,
            query=_take(step.query, self._heads),
            key=_take(step.key, kv_heads),
            value=_take(step.value, kv_heads),
        )

    def _all_heads(self, x: Tensor) -> Tensor:
        if x.shape[1] == self._shape.heads:
            return x
        whole = x.new_zeros(len(x), self._shape.heads, *x.shape[2:])
        return whole.scatter(1, _index(self._heads, x), x)


def _take(x: Tensor, heads: Tensor) -> Tensor:
    """Return the heads (batch, kept) of x (batch, head, token, channel)."""
    return x.gather(1, _index(heads, x))


def _index(heads: Tensor, x: Tensor) -> Tensor:
    return heads[:, :, None, None].expand(-1, -1, *x.shape[2:])


def _batches(token_lists: Sequence[Sequence[int]]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the numbers of sequences that run together, shortest first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, tokens in enumerate(token_lists):
        by_length[len(tokens)].append(number)
    for length in sorted(by_length):
        numbers = by_length[length]
        for start in range(0, len(numbers), BATCH_SIZE):
            yield np.array(numbers[start : start + BATCH_SIZE])


def _mix(seed: int, sequence: int) -> int:
    """Return a seed for one sequence: neighbours get unrelated ones."""
    return int(np.random.SeedSequence([seed, sequence]).generate_state(1, np.uint64)[0] >> 1)


def _check(loaded: LoadedModel, token_lists: Sequence[Sequence[int]], seed: int) -> None:
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    if not token_lists:
        raise InputError("the workload must have at least one sequence, it has none")
    limit = getattr(loaded.model.config, "max_position_embeddings", None)
    for number, tokens in enumerate(token_lists):
        if not tokens:
            raise InputError(f"sequence {number} must have at least one token, it has none")
        if limit is not None and len(tokens) > limit:
            raise InputError(
                f"sequence {number} must have at most {limit} tokens, not {len(tokens)}"
            )
