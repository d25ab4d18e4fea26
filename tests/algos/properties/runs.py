"""Run any method on a small random model of a workload's kind."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from algos import METHODS
from algos.base import Layout, Method
from algos.decoding import Texts, calibrate, run_decoder
from algos.harness import run_method
from algos.images import run_images
from algos.static.base import StaticMethod
from algos.static.calibrate import IGNORED, Calibration, answers
from algos.static.run import pruned
from tests.algos.conftest import random_encoder
from tests.algos.decoders import random_decoder, random_tokens
from tests.algos.static.models import random_model, random_vit
from workloads.models import LoadedModel, shape_of
from workloads.trace import Trace

LAYERS = 6
LENGTHS = (12, 9, 12, 1)  # of the sentences
TEXT, IMAGES, PROMPTS, FOLLOWING = 24, 3, 2, 3
GRID = (4, 4)
VISUAL = range(2, 18)  # in a question's prompt of 23 tokens
QUICK: dict[str, dict[str, Any]] = {  # fields with which a slow method asks the model less often
    "tyr": {"tries": 2},
    "optin": {"neurons_at_once": 16},
    "axformer": {"neurons_at_once": 16},
    "armor": {"steps": 2},
    "rd-layers": {"levels": 2},
    "ecoflap": {"directions": 1},
}


def make(name: str, **fields: Any) -> Method:
    """Make a method with settings that a test can afford."""
    kind: Any = METHODS[name]
    return kind(**QUICK.get(name, {}) | fields)  # type: ignore[no-any-return]


@cache
def model_of(kind: str) -> LoadedModel:
    """Return a model of 6 layers; no test may change it."""
    return fresh_model(kind)


def fresh_model(kind: str) -> LoadedModel:
    """Make a model of 6 layers that a test may change."""
    if kind == "sentences":
        return random_encoder(layers=LAYERS)
    if kind in ("images", "patch"):  # the latter sees one patch
        torch.manual_seed(0)
        model = random_vit(layers=LAYERS, image=16 if kind == "images" else 4)
        return LoadedModel(model, None, shape_of(model.config, "vit"), "vit")
    return random_decoder("llama", positions=128, num_hidden_layers=LAYERS)


def run(
    method: Method,
    kind: str,
    loaded: LoadedModel | None = None,
    seed: int = 0,
    *,
    shortest: bool = False,
) -> Trace:
    """Run a method and return its trace.

    Args:
        method: any but one that prunes a model, chooses visual tokens before it, or contexts.
        kind: of the workload.
        loaded: None: `model_of` the kind.
        seed: of the method.
        shortest: the input has one token, or one visual token.
    """
    loaded = loaded or model_of("patch" if shortest and kind == "images" else kind)
    named: dict[str, Any] = {"workload": "t", "seed": seed}
    if kind == "sentences":
        lengths = (1,) if shortest else LENGTHS
        tokens = [random_tokens(1, n, seed=n)[0] % 60 for n in lengths]
        return run_method(method, loaded, [x.tolist() for x in tokens], **named).trace({"x": 1.0})
    generator = torch.Generator().manual_seed(5)
    if kind == "images":
        side = 4 if shortest else 16
        pixels = torch.randn(IMAGES, 3, side, side, generator=generator)
        grid = (1, 1) if shortest else GRID
        return run_images(method, loaded, pixels, grid, **named).trace({"x": 1.0})
    texts = prompts(kind, loaded, shortest=shortest)
    known = random_tokens(2, 64, seed=7)
    facts = calibrate(method, loaded, known)
    return run_decoder(method, loaded, [texts], calibration=facts, **named).trace({"x": 1.0})


def prompts(kind: str, loaded: LoadedModel, *, shortest: bool = False) -> Texts:
    """Return prompts of tokens, or of embeddings with a grid of visual tokens among them."""
    following = random_tokens(PROMPTS, FOLLOWING, seed=2)
    if kind == "text":
        tokens = 1 if shortest else TEXT
        return Texts(prompt=random_tokens(PROMPTS, tokens, seed=1), following=following)
    visual = range(1, 2) if shortest else VISUAL
    tokens = random_tokens(PROMPTS, visual.stop + (1 if shortest else 5), seed=1)
    with torch.no_grad():
        embedded = loaded.model.get_input_embeddings()(tokens)
    embedded[:, visual.start : visual.stop].mul_(1.5)
    layout = Layout(visual=visual, grid=(1, 1) if shortest else GRID)
    return Texts(prompt=embedded, following=following, layout=layout)


FAMILY = {"sentences": "bert", "text": "llama", "images": "vit", "questions": "llava"}


@cache
def calibrated_model(family: str) -> tuple[LoadedModel, Calibration]:
    """Return a model of 2 layers and calibration samples; no test may change it."""
    return fresh_calibrated(family)


def fresh_calibrated(family: str) -> tuple[LoadedModel, Calibration]:
    """Make a model of 2 layers that a test may change, and calibration samples."""
    torch.manual_seed(0)
    model, shape, calibration = random_model("llama" if family == "llava" else family)
    loaded = LoadedModel(model, None, shape, family)
    return loaded, question_samples(loaded) if family == "llava" else calibration


def question_samples(loaded: LoadedModel) -> Calibration:
    """Return calibration prompts of embeddings, each with the answer that is to be predicted."""
    texts = prompts("questions", loaded)
    with torch.no_grad():
        words = loaded.model.get_input_embeddings()(texts.following)
    inputs = torch.cat((texts.prompt, words), 1)
    unseen = torch.full(texts.prompt.shape[:2], IGNORED)
    samples = [{"inputs_embeds": sample[None], "use_cache": False} for sample in inputs]
    return answers(samples, list(torch.cat((unseen, texts.following), 1)))


def run_static(name: str, kind: str, *, experts: bool = False, **fields: Any) -> Trace:
    """Prune a model of 2 layers, or such a mixture of experts, and run what is left of it."""
    experts = experts or METHODS[name].family == "expert"
    loaded, calibration = calibrated_model("mixtral" if experts else FAMILY[kind])
    method = make(name, **fields)
    assert isinstance(method, StaticMethod)
    acting, work, facts = pruned(method, loaded, calibration)
    named: dict[str, Any] = {"workload": "t", "facts": facts}
    done: Any
    if kind == "sentences":
        done = run_method(acting, work, [[1, 2, 3, 4], [5, 6]], **named)
    elif kind == "images":
        pixels = torch.stack([sample["pixel_values"][0] for sample in calibration.samples])
        done = run_images(acting, work, pixels, GRID, **named)
    else:
        done = run_decoder(acting, work, [prompts(kind, loaded)], **named)
    return replace(done, method=method).trace({"x": 1.0})  # type: ignore[no-any-return]
