"""EntropyPrune's entropies against its authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.token.entropy_prune import matrix_entropy
from algos.token.shared import top_order


@pytest.mark.fidelity
def test_entropies_and_their_order_are_those_of_the_authors(
    parity: Callable[[str], dict[str, Any]],
) -> None:
    given = parity("entropyprune")
    start, images, keep = (int(np.ravel(given[name])[0]) for name in ("start", "img", "keep"))
    query = torch.from_numpy(given["q"])[:, :, start : start + images]
    entropy = matrix_entropy(query, unit_trace=False)
    np.testing.assert_allclose(entropy[0], given["entropy"], rtol=1e-5)
    order = top_order(entropy, keep)[0] + start
    np.testing.assert_array_equal(order, given["kept_idx_sorted_by_score"])
