"""Shorten prompts of a question and its contexts, and run what is left through an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from algos.dense import Dense
from algos.harness import MethodRun, Progress, run_method
from algos.prompt.base import PromptInput, PromptMethod
from workloads.contexts import Retrieved
from workloads.models import LoadedModel, mean_pool

if TYPE_CHECKING:
    from torch import Tensor

    from algos.base import Method


@dataclass(frozen=True, kw_only=True)
class ContextRun:
    """A run of an encoder over shortened prompts, and what was left of each."""

    run: MethodRun
    kept: list[list[int]]  # of each question, contexts


def run_contexts(
    method: Method,
    loaded: LoadedModel,
    asked: Sequence[Retrieved],
    *,
    workload: str,
    seed: int = 0,
    progress: Progress | None = None,
) -> ContextRun:
    """Let a method choose contexts; the encoder reads the question and what is kept.

    Args:
        method: chooses; any other than a prompt method keeps all contexts.
        loaded: an encoder with a tokenizer: it embeds for the method, and is what runs.
        asked: the questions.
        workload: name for the trace.
        seed: of the trace.
        progress: called with the prompts done and their number.

    Raises:
        InputError: see `run_method`; or a similarity is not finite.
    """
    kept, prompts, dense = [], [], []
    for one in asked:
        chosen = [*range(len(one.contexts))]
        if isinstance(method, PromptMethod):
            chosen = method.select(_seen(loaded, one)).tolist()
        kept.append(chosen)
        prompts.append(_ids(loaded, [one.question, *(one.contexts[i] for i in chosen)]))
        dense.append(len(_ids(loaded, [one.question, *one.contexts])))
    acting = Dense() if isinstance(method, PromptMethod) else method
    done = run_method(
        acting,
        loaded,
        prompts,
        workload=workload,
        seed=seed,
        tokens_dense=dense,
        progress=progress,
    )
    return ContextRun(run=replace(done, method=method), kept=kept)


def _seen(loaded: LoadedModel, one: Retrieved) -> PromptInput:
    states = [_states(loaded, text) for text in (one.question, *one.contexts)]
    pooled = [mean_pool(state[None])[0] for state in states]
    return PromptInput(
        question=pooled[0],
        contexts=_stacked(pooled[1:]),
        question_tokens=states[0],
        context_tokens=states[1:],
    )


def _states(loaded: LoadedModel, text: str) -> Tensor:
    """Return the last hidden states (token, width) of one text."""
    import torch

    with torch.inference_mode():
        output = loaded.model(input_ids=torch.tensor([_ids(loaded, [text])]))
    states: Tensor = output.last_hidden_state[0]
    return states


def _stacked(vectors: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(vectors)


def _ids(loaded: LoadedModel, texts: list[str]) -> list[int]:
    """Return the token ids of some texts, one behind the other, cut to the model's context."""
    longest: Any = loaded.model.config.max_position_embeddings
    encoded = loaded.tokenizer(" ".join(texts), truncation=True, max_length=longest)
    return [int(token) for token in encoded["input_ids"]]
