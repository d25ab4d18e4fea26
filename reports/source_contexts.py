"""Traces of an encoder that reads a question and the contexts that a method leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.console import Phases, Update

if TYPE_CHECKING:
    from algos.base import Method
    from workloads.tasks import Workload
    from workloads.trace import Trace


class ContextSource:
    """Accuracy is the share of questions whose own context is left."""

    def __init__(self, workload: Workload, limit: int | None, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._count = workload.inputs if limit is None else min(limit, workload.inputs)

    def load(self, phases: Phases) -> None:
        """Load the encoder and draw the contexts."""
        with phases("load the model"):
            import torch

            from workloads.contexts import retrieved
            from workloads.models import load_encoder
            from workloads.tasks import read_sentence_pairs

            torch.set_num_threads(1)
            self._model = load_encoder()
            self._asked = retrieved(read_sentence_pairs(), self._seed)[: self._count]

    def trace(self, method: Method, update: Update) -> Trace:
        """Let the method choose, and run the encoder on what is left."""
        from algos.contexts import run_contexts

        done = run_contexts(
            method,
            self._model,
            self._asked,
            workload=self._workload.name,
            seed=self._seed,
            progress=update,
        )
        pairs = [*zip(self._asked, done.kept, strict=True)]
        return done.run.trace(
            {
                "answer_kept": sum(one.answer in kept for one, kept in pairs) / len(pairs),
                "contexts_kept": sum(len(kept) for _, kept in pairs)
                / sum(len(one.contexts) for one, _ in pairs),
            }
        )
