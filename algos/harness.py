"""Run a method on a model: the one place where methods, models and traces meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Batch, Method
from algos.emit import NOTES, Emitter
from algos.kv.base import CacheMethod
from algos.kv.runner import CacheRunner
from algos.layer_runner import LayerRunner
from algos.routing import watched_routers
from algos.static.facts import StaticFacts
from algos.token.base import TokenMethod
from algos.token.cascade import CascadeMethod
from algos.token.cascading import CascadingRunner
from algos.token.modules import watched_modules
from algos.token.reviving import RevivingRunner
from workloads.capture import attached, find_blocks
from workloads.errors import InputError
from workloads.models import LoadedModel, mean_pool
from workloads.session import Session
from workloads.shapes import ModelShape
from workloads.trace import Trace, TraceBuilder, TraceHeader

if TYPE_CHECKING:
    from torch import Generator

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
        return build_trace(self.emitter, self.method, self.workload, self.seed, accuracy)


def run_method(
    method: Method,
    loaded: LoadedModel,
    token_lists: Sequence[Sequence[int]],
    *,
    workload: str,
    seed: int = 0,
    facts: StaticFacts | None = None,
    tokens_dense: Sequence[int] | None = None,
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
        facts: what was pruned of the model before; None: nothing was.
        tokens_dense: tokens of each sequence before it was shortened; None: none was.
        progress: called after each batch with the sequences done and their number.
        record_scores: keep in the trace the numbers that top-k selectors see.

    Raises:
        InputError: the seed is negative, a sequence is empty or longer than the model allows,
            or the model's numbers are not finite.
    """
    import torch

    _check(loaded, token_lists, seed)
    emitter = Emitter(loaded.shape, record_scores=record_scores, facts=facts)
    embeddings = np.zeros((len(token_lists), loaded.shape.hidden), np.float32)
    done = 0
    with torch.inference_mode():
        lengths = [len(tokens) for tokens in token_lists]
        whole = lengths if tokens_dense is None else [*tokens_dense]
        for sequences in _batches([*zip(lengths, whole, strict=True)]):
            tokens = torch.tensor([list(token_lists[i]) for i in sequences])
            batch = make_batch(loaded.shape, tokens.shape[1], sequences, seed)
            emitter.batch(sequences, whole[sequences[0]], tokens.shape[1])
            with running(method, batch, sequences, emitter, loaded.model, facts=facts):
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


def _batches(lengths: Sequence[tuple[int, int]]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the numbers of sequences that run together, shortest first.

    Args:
        lengths: of each sequence its tokens, and those before it was shortened.
    """
    by_length: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, tokens in enumerate(lengths):
        by_length[tokens].append(number)
    for length in sorted(by_length):
        numbers = by_length[length]
        for start in range(0, len(numbers), BATCH_SIZE):
            yield np.array(numbers[start : start + BATCH_SIZE])


def build_trace(
    emitter: Emitter,
    method: Method,
    workload: str,
    seed: int,
    accuracy: dict[str, float],
    notes: str = NOTES,
) -> Trace:
    """Build the checked trace of what an emitter collected."""
    builder = TraceBuilder()
    emitter.rows.write(builder)
    header = TraceHeader(
        workload=workload,
        model=emitter.shape,
        method=method.name,
        parameters=method.model_dump(),
        seed=seed,
        accuracy=accuracy,
        synthetic=False,
        notes=notes,
    )
    return builder.finish(header)


def make_batch(
    shape: ModelShape, tokens: int, sequences: Iterable[int], seed: int, **known: Any
) -> Batch:
    """Return the description of a batch; each sequence gets a generator of its own."""
    generators = make_generators(seed, sequences)
    return Batch(shape=shape, tokens=tokens, generators=generators, **known)


def make_generators(seed: int, sequences: Iterable[int]) -> tuple[Generator, ...]:
    """Return a generator for each sequence, by its number."""
    import torch

    return tuple(torch.Generator().manual_seed(_mix(seed, int(number))) for number in sequences)


@contextmanager
def running(
    method: Method,
    batch: Batch,
    sequences: Any,
    emitter: Emitter,
    model: Any,
    *,
    facts: StaticFacts | None = None,
    cached: bool = False,
) -> Iterator[Session]:
    """Let a method decide in every forward pass of a model until the context is left.

    Args:
        method: decides; one of the cache needs `cached`.
        batch: what runs.
        sequences: (batch,) numbers of its sequences.
        emitter: collects the trace.
        model: a Hugging Face model.
        facts: what was pruned before the model ran; None: nothing was.
        cached: the model decodes: K and V stay for the tokens that follow.
    """
    with ExitStack() as undo:
        handler: Any
        if isinstance(method, CacheMethod):
            handler = CacheRunner(method, batch, sequences, emitter)
        else:
            kind = layer_runner(method, cached=cached)
            emitter.kv_policy = kind.kv_policy
            handler = kind(method, batch, sequences, emitter, facts=facts, cached=cached)
            last = find_blocks(model)[-1]
            undo.callback(last.register_forward_hook(handler.leave_last).remove)
        if batch.shape.experts:
            undo.enter_context(watched_routers(model, emitter.products.routed))
        if isinstance(method, TokenMethod) and method.wants_modules:
            handler.modules = undo.enter_context(watched_modules(model))
        yield undo.enter_context(attached(model, handler))


def layer_runner(method: Method, *, cached: bool) -> type[LayerRunner]:
    """Return what applies the decisions of a method that acts on layers.

    Args:
        method: any but one of the cache.
        cached: the model decodes.
    """
    if cached and isinstance(method, CascadeMethod):
        return CascadingRunner
    if cached and isinstance(method, TokenMethod) and method.revives:
        return RevivingRunner
    return LayerRunner


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
