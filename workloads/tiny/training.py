"""What all training scripts share: the optimiser's loop and the facts about the machine."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

_WARM_UP = 100  # steps until the highest learning rate is reached


def fit(parameters: Any, losses: Iterator[torch.Tensor], steps: int, peak: float) -> float:
    """Descend along losses by AdamW under a cosine schedule and return the seconds it took.

    Args:
        parameters: what AdamW takes: tensors, or groups with a learning rate of their own.
        losses: computes the loss of one more batch when asked.
        steps: batches in all.
        peak: learning rate after the warm-up.
    """
    optimizer = torch.optim.AdamW(parameters, peak, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    start = time.perf_counter()
    for step in range(steps):
        loss = next(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            sys.stderr.write(f"step {step} of {steps}, {seconds:.0f} s: {loss.item():.3f} nats\n")
    return time.perf_counter() - start


def provenance(seconds: float, seed: int) -> dict[str, Any]:
    """Return how long training took and with what, as the facts on a card."""
    return {
        "seconds": round(seconds),
        "machine": f"{torch.get_num_threads()} CPU threads, bfloat16 autocast",
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "seed": seed,
    }


def _rate(step: int, total: int) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total)))
