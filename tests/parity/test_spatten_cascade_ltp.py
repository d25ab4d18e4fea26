"""The cascade that LTP compares with, against its authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.token.ltp_cascade import keep_rates, survivors


@pytest.mark.fidelity
def test_every_layer_keeps_the_tokens_that_the_authors_keep(
    parity: Callable[[str], dict[str, Any]],
) -> None:
    given = parity("spatten_cascade_ltp")
    probabilities = torch.from_numpy(given["probs"])
    rates = keep_rates(len(probabilities), float(given["token_keep_rate"]))
    np.testing.assert_allclose(rates, given["keep_rate"], rtol=1e-5)
    lengths = torch.from_numpy(given["sentence_lengths"])
    alive = torch.from_numpy(given["keep"][0])
    for layer, (rate, probability) in enumerate(zip(rates, probabilities, strict=True)):
        counts = (lengths * rate).round().long().tolist()
        alive = survivors(probability, alive, counts)
        np.testing.assert_array_equal(alive, given["keep"][layer + 1], f"layer {layer}")
