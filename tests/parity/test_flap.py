"""FLAP against the authors' masks and running statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from algos.structured.budget import Masks
from algos.structured.flap import authors_adaptive, authors_uniform
from algos.structured.fluctuation import adaptive_scores, running_statistics, wifn, wifv

Load = Callable[[str], dict[str, Any]]
STEPS = 100  # the ratio is not in the file: a whole percentage, of those that the counts allow


def cases(file: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield each case with the scores (layers, columns) of output and down projections."""
    for case in [key.removesuffix("_heads") for key in file if key.endswith("_heads")]:
        scores = []
        for part in ("self_attn.o_proj", "mlp.down_proj"):
            rows = []
            for layer in range(len(file[f"{case}_heads"])):
                weight = torch.tensor(file[f"dense/L{layer}.{part}.weight"])
                stem = f"stat_{case}/L{layer}.{part}"
                if case.startswith("WIFV"):
                    rows.append(wifv(weight, torch.tensor(file[f"{stem}.fluc_inp"])))
                else:
                    rows.append(wifn(weight, torch.tensor(file[f"{stem}.scaler_inp"])))
            scores.append(torch.stack(rows))
        yield case, *scores


def masks_of(case: str, output: torch.Tensor, down: torch.Tensor, heads: int, p: float) -> Masks:
    if case.endswith("ULUM"):
        return authors_uniform(output, down, heads, p)
    scores = adaptive_scores(output, down, heads)
    return authors_adaptive(*scores, p, output.shape[1] // heads)


@pytest.mark.fidelity
def test_masks(parity: Load) -> None:
    file = parity("flap")
    fitting = set(range(1, STEPS))
    for case, output, down in cases(file):
        heads, neurons = file[f"{case}_heads"], file[f"{case}_mlp"]

        def agrees(
            percent: int,
            case: str = case,
            scores: tuple[torch.Tensor, torch.Tensor] = (output, down),
            wanted: tuple[Any, Any] = (heads, neurons),
        ) -> bool:
            found = masks_of(case, *scores, wanted[0].shape[1], percent / STEPS)
            pairs = zip(found, wanted, strict=True)
            return all(np.array_equal(a.numpy(), b) for a, b in pairs)

        fitting = {percent for percent in fitting if agrees(percent)}
        assert fitting, f"no one ratio gives the masks up to {case}"


@pytest.mark.fidelity
def test_running_statistics(parity: Load) -> None:
    file = parity("flap_stats")
    inputs = torch.tensor(file["x"])
    for samples in range(1, len(inputs) + 1):
        mean, fluctuation = running_statistics(list(inputs[:samples]))
        np.testing.assert_allclose(mean, file["baseline"][samples - 1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fluctuation, file["fluc"][samples - 1], rtol=1e-5, atol=1e-6)
