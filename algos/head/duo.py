"""DuoAttention: retrieval heads keep everything, streaming heads sinks and a window.

Xiao et al., ICLR 2025, arXiv:2410.10819.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Calibration, Parity
from algos.head.classes import HeadClasses, streaming_mask
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.step import AttentionStep


def deviation(probability: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Return how much a head's output changes when it may only see a part, (head,).

    Args:
        probability: (batch, head, query, key), dense.
        value: (batch, head, key, channel).
        seen: (query, key) bool.

    Returns:
        The squared change, over the squared output.
    """
    part = probability * seen
    part = part / part.sum(-1, keepdim=True).clamp_min(1e-30)
    output = probability @ value
    change = (part @ value - output).square().sum((0, 2, 3))
    return change / output.square().sum((0, 2, 3)).clamp_min(1e-30)


class DuoAttention(HeadClasses):
    """Keep all tokens in retrieval heads; sinks and recent tokens in the other heads.

    The paper trains a gate alpha of each KV head so that the model's output hardly changes where
    the head streams. `alpha` takes such a table. Without one its substitute is measured, not
    trained: how much the head's own output changes on calibration text when it streams, averaged
    over a group. The model holds up to one head less than its budget.
    """

    name: ClassVar[str] = "duo"
    signal: ClassVar[str] = "gate of a head; here the change of its output when it streams"
    paper: ClassVar[str] = "Xiao et al., ICLR 2025, arXiv:2410.10819"
    training: ClassVar[str] = "gates of heads; a measured substitute without a table"
    parity: ClassVar[Parity] = "authors"

    alpha: tuple[tuple[float, ...], ...] | None = None
    """Trained gates, a row for each layer, a number for each KV head; None: they are measured."""

    def calibrate(self, seen: Calibration) -> Tensor:
        """Return the gates (layer, kv_head).

        Raises:
            InputError: the table given has another shape than the model.
        """
        import torch

        found = torch.stack([self._changes(layer.step, layer.probability) for layer in seen.layers])
        if self.alpha is None:
            return found
        if [len(row) for row in self.alpha] != [found.shape[1]] * len(found):
            raise InputError(
                f"duo alpha must have {len(found)} rows of {found.shape[1]} KV heads, it has "
                f"{len(self.alpha)} rows of {sorted({len(row) for row in self.alpha})}"
            )
        return torch.tensor(self.alpha).clamp(0, 1)

    def _changes(self, step: AttentionStep, probability: Tensor) -> Tensor:
        repeat = probability.shape[1] // step.value.shape[1]
        visible = streaming_mask(step.query_ids[0], step.key_ids[0], self.sinks, self.recent)
        value = step.value.repeat_interleave(repeat, 1)
        return deviation(probability, value, visible).view(-1, repeat).mean(-1)
