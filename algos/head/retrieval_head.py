"""Retrieval heads: those that look at the token that is then copied.

Wu et al., ICLR 2025, arXiv:2404.15574.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Calibration, Parity
from algos.head.classes import HeadClasses

if TYPE_CHECKING:
    from torch import Tensor


def retrieval_score(probability: Tensor, keys: Tensor, generated: Tensor, needle: range) -> Tensor:
    """Return the share of the needle that a head copies, (...), of (step, ..., key).

    A step counts if the head looks most at a token inside the needle, and that token is generated.

    Args:
        probability: (step, ..., key) of the last query of each step.
        keys: (key,) token ids of the prompt.
        generated: (step,) token ids.
        needle: positions of the text to be found.
    """
    at = probability.argmax(-1)
    inside = (at >= needle.start) & (at < needle.stop)
    copied = keys[at] == generated.view(-1, *(1,) * (at.ndim - 1))
    return (inside & copied).sum(0) / len(needle)


class RetrievalHead(HeadClasses):
    """Keep all tokens in the heads that copy; sinks and recent tokens in the other heads.

    The paper hides a needle in a text and counts which heads look at it while the model repeats
    it. Here the needle is all of a calibration text: a head scores where it looks most at a token
    equal to the next one. Heads of a group share the best score. The model holds up to
    one head less than its budget.
    """

    name: ClassVar[str] = "retrieval-head"
    signal: ClassVar[str] = "how often a head looks at the token that is generated next"
    paper: ClassVar[str] = "Wu et al., ICLR 2025, arXiv:2404.15574"
    training: ClassVar[str] = "scores of heads measured on calibration text"
    parity: ClassVar[Parity] = "authors"

    def calibrate(self, seen: Calibration) -> Tensor:
        """Return the scores (layer, kv_head)."""
        import torch

        found = []
        for layer in seen.layers:
            steps = layer.probability[:, :, :-1].transpose(1, 2)  # the last one generates nothing
            scores = [
                retrieval_score(probability, tokens, tokens[1:], range(len(tokens)))
                for probability, tokens in zip(steps, seen.tokens, strict=True)
            ]
            mean = torch.stack(scores).mean(0)
            found.append(mean.view(layer.step.key.shape[1], -1).amax(-1))
        return torch.stack(found)
