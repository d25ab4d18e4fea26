"""Run a method on a vision transformer that names what an image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import Layout, Method
from algos.emit import Emitter
from algos.harness import Progress, build_trace, make_batch, running
from algos.static.facts import StaticFacts
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE = 32
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class ImageRun:
    """What one run of a method gave: logits, and a trace once accuracy is known."""

    logits: FloatArray  # (image, class)
    method: Method
    workload: str
    seed: int
    emitter: Emitter

    def trace(self, accuracy: dict[str, float]) -> Trace:
        """Build the checked trace of this run with the accuracy measured on its logits."""
        return build_trace(self.emitter, self.method, self.workload, self.seed, accuracy)


def run_images(
    method: Method,
    loaded: LoadedModel,
    pixels: Tensor,
    grid: tuple[int, int],
    *,
    workload: str,
    seed: int = 0,
    facts: StaticFacts | None = None,
    progress: Progress | None = None,
    record_scores: bool = False,
) -> ImageRun:
    """Run a classifier of images under a pruning method and record everything.

    Args:
        method: decides what is pruned.
        loaded: a vision transformer with a class token and a head.
        pixels: (image, channel, height, width).
        grid: rows and columns of patches.
        workload: name for the trace.
        seed: of the methods that draw numbers; each image has a generator of its own.
        facts: what was pruned of the model before; None: nothing was.
        progress: called after each batch with the images done and their number.
        record_scores: keep in the trace the numbers that top-k selectors see.

    Raises:
        InputError: the seed is negative, there is no image, or a logit is not finite.
    """
    import torch

    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    count, patches = len(pixels), grid[0] * grid[1]
    if count < 1:
        raise InputError("images must be at least 1, there are 0")
    emitter = Emitter(loaded.shape, record_scores=record_scores, facts=facts)
    layout = Layout(class_token=True, visual=range(1, 1 + patches), grid=grid)
    found = []
    with torch.inference_mode():
        for start in range(0, count, BATCH_SIZE):
            rows = np.arange(start, min(start + BATCH_SIZE, count))
            batch = make_batch(loaded.shape, 1 + patches, rows, seed, layout=layout)
            emitter.batch(rows, 1 + patches)
            with running(method, batch, rows, emitter, loaded.model, facts=facts):
                logits = loaded.model(pixel_values=pixels[rows]).logits
            if not bool(logits.isfinite().all()):
                raise InputError(f"logits must be finite, one of images {start}+ is not")
            found.append(logits.numpy())
            if progress is not None:
                progress(int(rows[-1]) + 1, count)
    return ImageRun(
        logits=np.concatenate(found),
        method=method,
        workload=workload,
        seed=seed,
        emitter=emitter,
    )
