"""FlowCut's scores and cascade equal those of the authors' program."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.visual.flow import accumulate, flow_score, patches_to_drop
from algos.visual.ranking import top_ids

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_scores_of_flowcut(parity: Parity) -> None:
    case = parity("flowcut_score")
    attention, semantic, value = (torch.tensor(case[key]) for key in ("cls_attn", "sem", "value"))
    np.testing.assert_allclose(flow_score(attention, semantic, value), case["score"], rtol=1e-5)
    counts = [key for key in case if key.startswith("prune_n_")]
    assert counts
    for key in counts:
        left, tokens = re.fullmatch(r"prune_n_rpl(\d+)_t(\d+)", key).groups()  # type: ignore[union-attr]
        dropped = patches_to_drop(attention, int(tokens) - 1, int(left))
        assert dropped.tolist() == case[key].tolist(), key


@pytest.mark.fidelity
def test_cascade_of_flowcut(parity: Parity) -> None:
    """Drive the cascade with the file's attention, renormalised over the tokens left."""
    case = parity("flowcut")
    class_rows, semantic, value = (
        torch.tensor(case[key]) for key in ("cls_attn", "semantic_attn", "value")
    )
    target = int(case["target"]) - 1  # the program counts the class token
    ids = torch.arange(class_rows.shape[-1])
    past = None
    for layer, expected in enumerate(case["kept_ids_after"]):
        rows = class_rows[layer][:, ids]
        attention = (rows / rows.sum(1, keepdim=True)).mean(0)[None, 1:]
        patches = ids[1:]
        score = flow_score(attention, semantic[layer][None, patches], value[layer][None, patches])
        past = accumulate(past, score)
        left = int(case["select_layer"]) - layer - 1
        kept = top_ids(past, len(patches) - int(patches_to_drop(attention, target, left)))
        past = past.gather(1, kept)
        ids = torch.cat([ids[:1], patches[kept[0]]])
        assert len(ids) == case["tokens_after"][layer], layer
        assert ids.tolist() == expected[expected >= 0].tolist(), layer
