"""Where traces come from: a real model that reads sentences, or a model's shape alone."""

from __future__ import annotations

import copy
import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reports.console import Phases, Update
from workloads.config import unknown_name
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.base import Method
    from workloads.models import LoadedModel
    from workloads.shapes import ModelShape
    from workloads.tasks import SentencePairs, Workload
    from workloads.trace import Trace

CALIBRATION_PAIRS = 16  # the last ones shipped: methods on weights look at them
REQUANT_SHARE = 0.059  # queries that need LSBs: SpAtten, HPCA 2021, section III-D, the average


class Request(Protocol):
    """What a source needs to know of a job."""

    @property
    def workload(self) -> str: ...
    @property
    def sentences(self) -> Path | None: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def seed(self) -> int: ...


class Source(Protocol):
    """Makes the trace of any method; `load` comes first and may take seconds."""

    def load(self, phases: Phases) -> None: ...

    def trace(self, method: Method, update: Update) -> Trace: ...


def make_source(request: Request, workload: Workload | None = None) -> Source:
    """Return the source of a workload; its inputs are read and checked here.

    Args:
        request: what a job asks for.
        workload: a variant of the one that the request names; None: that one.

    Raises:
        InputError: an unknown workload, or a sentence file that cannot be used.
    """
    from workloads.tasks import WORKLOADS, read_sentence_pairs

    if request.workload not in WORKLOADS:
        raise InputError(unknown_name("workload", request.workload, WORKLOADS))
    workload = workload or WORKLOADS[request.workload]
    if workload.kind == "sentences":
        pairs = read_sentence_pairs(request.sentences, request.limit)
        return SentenceSource(workload.name, pairs, request.seed)
    if request.sentences is not None:
        raise InputError(f"sentences must be left out for {workload.name}, it reads none")
    if workload.kind == "text":
        from reports.source_text import TextSource

        return TextSource(workload, request.limit, request.seed)
    if workload.kind == "contexts":
        from reports.source_contexts import ContextSource

        return ContextSource(workload, request.limit, request.seed)
    if workload.kind in ("images", "questions"):
        from reports.source_vision import ImageSource, QuestionSource

        source = ImageSource if workload.kind == "images" else QuestionSource
        return source(workload, request.limit, request.seed)
    if request.limit is not None:
        raise InputError(f"limit must be left out for {workload.name}, it is only a shape")
    return ShapeSource(workload, request.seed)


def check_claim(method: Method, workload: str) -> None:
    """Require that a method runs on a workload.

    Args:
        method: any.
        workload: name of one.

    Raises:
        InputError: the method does not claim the workload's kind, or its decisions need data and
            the workload is only a shape.
    """
    from workloads.tasks import WORKLOADS

    kind = WORKLOADS[workload].kind
    if kind == "shape":
        if not _known_without_data(method):
            raise InputError(f"method {method.name} needs a real model, {workload} is only a shape")
    elif kind not in method.workloads:
        runs_on = " and ".join(method.workloads)
        raise InputError(
            f"method {method.name} must run on {kind} to read {workload}, it runs on {runs_on}"
        )


class SentenceSource:
    """A real encoder on sentence pairs; accuracy is measured against it in full precision."""

    def __init__(self, name: str, pairs: SentencePairs, seed: int) -> None:
        self._name, self._pairs, self._seed = name, pairs, seed
        self._model: Any = None
        self._tokens: list[list[int]] = []
        self._reference: Any = None

    def load(self, phases: Phases) -> None:
        """Load the model and cut the sentences into tokens; the reference starts beside it."""
        with phases("load the model"):
            import torch

            from workloads.models import load_encoder
            from workloads.tasks import tokenize

            torch.set_num_threads(1)  # small matrices: a second thread waits more than it works
            self._model = load_encoder()
            longest = self._model.model.config.max_position_embeddings
            self._tokens = tokenize(self._pairs, self._model.tokenizer, longest)
            gc.freeze()  # what is loaded stays: no collection need look at it again
        beside = ThreadPoolExecutor(1)
        self._reference = beside.submit(self._embed, _same_weights(self._model))
        beside.shutdown(wait=False)

    def _embed(self, loaded: LoadedModel) -> Any:
        """Return the sentence vectors of the unpruned model in full precision."""
        from algos import METHODS
        from algos.harness import run_method

        exact = METHODS["dense"](bits=32)
        done = run_method(exact, loaded, self._tokens, workload=self._name, record_scores=False)
        return done.embeddings

    def trace(self, method: Method, update: Update) -> Trace:
        """Run the method in the model and measure its accuracy."""
        from algos.harness import run_method
        from workloads.tasks import accuracy

        reference = self._reference.result()
        acting, loaded, facts = self._pruned(method)
        done = run_method(
            acting,
            loaded,
            self._tokens,
            workload=self._name,
            seed=self._seed,
            facts=facts,
            progress=update,
        )
        return replace(done, method=method).trace(accuracy(done.embeddings, reference))

    def _pruned(self, method: Method) -> Any:
        """Return what runs of a method: a static one has pruned the model before."""
        from algos.static.base import StaticMethod
        from algos.static.calibrate import sentence_pairs
        from algos.static.run import pruned
        from workloads.tasks import read_sentence_pairs, tokenize

        if not isinstance(method, StaticMethod):
            return method, self._model, None
        longest = self._model.model.config.max_position_embeddings
        pairs = read_sentence_pairs()[-CALIBRATION_PAIRS:]
        tokens = tokenize(pairs, self._model.tokenizer, longest)
        samples = sentence_pairs(self._model.model, tokens)
        return pruned(method, self._model, samples, self._seed)


def _same_weights(loaded: LoadedModel) -> LoadedModel:
    """Return a second model on the same weights: a model can run one method at a time."""
    weights = [*loaded.model.parameters(), *loaded.model.buffers()]
    twin = copy.deepcopy(loaded.model, {id(weight): weight for weight in weights})
    return replace(loaded, model=twin)


class ShapeSource:
    """A model's shape without weights: sparsity is drawn at a method's ratios, and synthetic."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload, self._seed = workload, seed

    def load(self, phases: Phases) -> None:
        """Load nothing: a shape has no weights."""

    def trace(self, method: Method, update: Update) -> Trace:
        """Draw a trace with the method's ratios."""
        from workloads.shapes import SHAPES
        from workloads.synthetic import shape_trace

        shape = SHAPES[self._workload.shape]
        ratios = _ratios(method, shape, self._workload.tokens)
        drawn = shape_trace(
            shape,
            self._workload.tokens,
            generate=self._workload.generate,
            seed=self._seed,
            **ratios,
        )
        assumed = {"assumed_requant_share": ratios.get("requant_share", 0.0)}
        header = replace(drawn.header, method=method.name, parameters=method.model_dump() | assumed)
        return replace(drawn, header=header)


def _known_without_data(method: Method) -> bool:
    """Tell whether a method's ratios say what it keeps of each layer."""
    from algos.token.cascade import CascadeMethod

    return method.name == "dense" or isinstance(method, CascadeMethod)


def _ratios(method: Method, shape: ModelShape, tokens: int) -> dict[str, Any]:
    """Return what a method would keep of a shape, as far as that is known without data."""
    from algos.base import Batch

    if method.name == "dense":
        return {}
    state = method.begin(Batch(shape=shape, tokens=tokens, generators=()))
    token, head = np.array(state.token_ratios), np.array(state.head_ratios)
    if getattr(method, "ratio_of", "input") == "layer":  # shares of the layer before: compound
        token, head = np.cumprod(token), np.cumprod(head)
    ratios = {
        "token_keep": token.tolist(),
        "head_keep": head.tolist(),
        "value_keep": getattr(method, "value_keep_ratio", 1.0),
    }
    if hasattr(method, "msb_bits"):
        ratios |= {
            "k_bits": method.msb_bits,
            "k_lsb_bits": method.lsb_bits,
            "v_bits": getattr(method, "value_bits", method.msb_bits),
            "requant_share": REQUANT_SHARE if method.lsb_bits else 0.0,
        }
    return ratios
