"""How a pruned decoder's predictions are judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.text_accuracy import REPEATED, copied_tokens, text_accuracy


def test_a_token_is_copied_if_it_and_what_stands_before_it_were_there() -> None:
    phrase = [*range(REPEATED), 50]
    window = np.array([[*phrase, 99, *phrase, 98, *phrase[:-1], 51]])
    copied = copied_tokens(window, 12)
    places = np.flatnonzero(copied[0]) + window.shape[1] - 12
    assert places.tolist() == [2 * REPEATED + 2]  # the 50 of the second time, not the 51


def test_measures_by_hand() -> None:
    windows = np.array([[7, 7, 7, 1, 2]])
    found = text_accuracy(
        np.array([[1.0, 3.0]]),
        np.array([[1, 9]]),
        np.array([[0.5, 0.5]]),
        np.array([[1, 2]]),
        windows,
    )
    assert found["nats_per_token"] == 2.0
    assert found["perplexity"] == pytest.approx(math.exp(2))
    assert (found["top1"], found["top1_dense"], found["same_prediction"]) == (0.5, 1.0, 0.5)
    assert "retrieval_agreement" not in found


def test_a_copied_token_that_is_lost_counts() -> None:
    phrase = [*range(REPEATED), 50]
    windows = np.array([[*phrase, *phrase, 60]])  # the 50 is copied, the 60 is not
    right, wrong, nats = np.array([[50, 60]]), np.array([[3, 60]]), np.ones((1, 2))
    assert text_accuracy(nats, wrong, nats, right, windows)["retrieval_agreement"] == 0.0
    assert text_accuracy(nats, right, nats, right, windows)["retrieval_agreement"] == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_must_be_finite(bad: float) -> None:
    one = np.ones((1, 1), int)
    with pytest.raises(InputError, match="nats must be finite"):
        text_accuracy(np.full((1, 1), bad), one, np.ones((1, 1)), one, one)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="must have one shape"):
        text_accuracy(
            np.ones((1, 2)), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 3))
        )
