"""Traces of a decoder that reads held-out text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reports.console import Phases, Update
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.base import Method
    from workloads.tasks import Workload
    from workloads.trace import Trace

CALIBRATION_TEXTS = 8  # the last ones of the held-out text; accuracy is measured on the first


class TextSource:
    """A decoder on text: prefill, then the known tokens that follow one by one."""

    def __init__(self, workload: Workload, limit: int | None, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._count = workload.inputs if limit is None else min(limit, workload.inputs)
        self._loaded: Any = None
        self._windows: Any = None  # (text, token) ids
        self._calibration: Any = None
        self._reference: Any = None

    def load(self, phases: Phases) -> None:
        """Load the model, cut the text, and let the unpruned model read it."""
        with phases("load the model"):
            import torch

            from algos import METHODS
            from workloads.models import load_decoder
            from workloads.text import held_out
            from workloads.tiny_models import MOE, load_moe

            torch.set_num_threads(1)
            work = self._workload
            self._loaded = load_moe() if work.name == MOE else load_decoder()
            whole = held_out(self._loaded, None, None)
            used = work.tokens + work.generate
            if used > whole.shape[1]:
                raise InputError(
                    f"tokens and generate of {work.name} must be at most {whole.shape[1]} "
                    f"together, a window of its text, not {used}"
                )
            texts = torch.from_numpy(whole[:, :used].copy())
            if len(texts) < self._count + CALIBRATION_TEXTS:
                raise InputError(
                    f"the held-out text must have {self._count + CALIBRATION_TEXTS} windows, "
                    f"not {len(texts)}"
                )
            self._windows, self._calibration = texts[: self._count], texts[-CALIBRATION_TEXTS:]
        with phases("read the text unpruned") as update:
            exact = METHODS["dense"](**{"bits": 32})
            self._reference = self._run(exact, exact, self._loaded, None, update)

    def trace(self, method: Method, update: Update) -> Trace:
        """Run the method in the model and measure its accuracy."""
        from algos.static.calibrate import next_token
        from algos.static.run import pruned
        from workloads.text_accuracy import text_accuracy

        acting, loaded, facts = pruned(
            method, self._loaded, next_token(self._calibration), self._seed
        )
        done = self._run(method, acting, loaded, facts, update)
        return done.trace(
            text_accuracy(
                done.nats[0],
                done.predicted[0],
                self._reference.nats[0],
                self._reference.predicted[0],
                self._windows.numpy(),
            )
        )

    def _run(self, named: Method, acting: Method, loaded: Any, facts: Any, update: Update) -> Any:
        from algos.decoding import Texts, calibrate, run_decoder

        at = self._workload.tokens
        done = run_decoder(
            acting,
            loaded,
            [Texts(prompt=self._windows[:, :at], following=self._windows[:, at:])],
            workload=self._workload.name,
            seed=self._seed,
            facts=facts,
            calibration=calibrate(acting, loaded, self._calibration[:2]),
            progress=update,
        )
        return replace(done, method=named)
