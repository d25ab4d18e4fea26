"""How well a pruned decoder predicts a text, beside the unpruned one."""

from __future__ import annotations

from typing import Any

import numpy as np

from workloads.errors import InputError

FloatArray = np.ndarray[Any, Any]
IntArray = np.ndarray[Any, Any]

REPEATED = 8  # tokens that must stand before a token twice to count it as copied


def text_accuracy(
    nats: FloatArray,
    predicted: IntArray,
    reference_nats: FloatArray,
    reference_predicted: IntArray,
    windows: IntArray,
) -> dict[str, float]:
    """Compare the predictions of a pruned decoder with those of the unpruned one.

    Args:
        nats: (sequence, n) loss of the last n tokens of each window.
        predicted: (sequence, n) most likely tokens in their places.
        reference_nats, reference_predicted: of the unpruned model.
        windows: (sequence, tokens) the texts.

    Returns:
        `nats_per_token`, `perplexity` and the same of the unpruned model, `..._dense`;
        `top1`, `top1_dense`: share of tokens predicted;
        `same_prediction`: share where both models predict the same;
        `retrieval_agreement`: of the tokens that the unpruned model predicts and that stand after
        the same `REPEATED` tokens earlier in the window, the share predicted. Left out if there
        are none.

    Raises:
        InputError: other shapes, or a loss that is not finite.
    """
    for what, given in (("nats", nats), ("reference nats", reference_nats)):
        if given.shape != predicted.shape or given.shape != reference_predicted.shape:
            raise InputError(f"{what} and predictions must have one shape, not {given.shape}")
        if not np.isfinite(given).all():
            raise InputError(f"{what} must be finite, token {int(np.argmin(given))} has none")
    following = windows[:, -nats.shape[1] :]
    right, right_dense = predicted == following, reference_predicted == following
    found = {
        "nats_per_token": float(nats.mean()),
        "nats_per_token_dense": float(reference_nats.mean()),
        "perplexity": float(np.exp(nats.mean())),
        "perplexity_dense": float(np.exp(reference_nats.mean())),
        "top1": float(right.mean()),
        "top1_dense": float(right_dense.mean()),
        "same_prediction": float((predicted == reference_predicted).mean()),
    }
    copied = copied_tokens(windows, nats.shape[1]) & right_dense
    if copied.any():
        found["retrieval_agreement"] = float(right[copied].mean())
    return found


def copied_tokens(windows: IntArray, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell of the last `n` tokens of each window which repeat what stood there before.

    A token does if the `REPEATED` tokens before it and the token itself stand earlier in the
    window, too.
    """
    count, tokens = windows.shape
    found = np.zeros((count, n), np.bool_)
    for row in range(count):
        seen: set[bytes] = set()
        for end in range(REPEATED + 1, tokens + 1):
            phrase = windows[row, end - REPEATED - 1 : end].tobytes()
            if end > tokens - n:
                found[row, end - 1 - (tokens - n)] = phrase in seen
            seen.add(phrase)
    return found
