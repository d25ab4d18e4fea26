"""D-Pruner: weights that matter in general and to a domain.

Zhang et al., NAACL findings 2024, arXiv:2405.06275.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.static.base import LinearView, Need, sum_of
from algos.weight.base import WeightMethod
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def removal_error(weight: Tensor, gradients: tuple[Tensor, ...]) -> Tensor:
    """Return what the loss changes when each weight is removed, |-g w + F w^2 / 2|.

    Args:
        weight: (rows, columns).
        gradients: one a sample; g is their mean, F the mean of their squares.
    """
    mean = sum_of(gradients) / len(gradients)
    fisher = sum_of(g.square() for g in gradients) / len(gradients)
    return (fisher * weight.square() / 2 - mean * weight).abs()


def dual_importance(general: Tensor, domain: Tensor, general_weight: float) -> Tensor:
    """Return domain importance + weight * general importance, each relative to its mean."""
    return _relative(domain) + general_weight * _relative(general)


def _relative(importance: Tensor) -> Tensor:
    mean = importance.mean()
    return importance / mean if float(mean) > 0 else importance


class DPruner(WeightMethod):
    """Drops the weights of each output that matter least to general text and to a domain.

    From the description: the first calibration samples stand for open-domain text, the others for
    the domain; general importance enters as it would as a quadratic term of the domain's loss. The
    weight of the term is an estimate.
    """

    name: ClassVar[str] = "d-pruner"
    signal: ClassVar[str] = "loss change of removal, on general and on domain samples"
    paper: ClassVar[str] = "Zhang et al., NAACL findings 2024, arXiv:2405.06275"
    training: ClassVar[str] = "calibration samples with a loss"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"sample_gradients"})

    general_share: Fraction = 0.5
    """Share of calibration samples that are open-domain text, the first ones."""
    general_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of general against domain importance."""

    def score(self, linear: LinearView) -> Tensor:
        """Return the dual importance.

        Raises:
            InputError: there are no samples of one of both kinds.
        """
        samples = linear.gradient_samples
        split = round(self.general_share * len(samples))
        if not 0 < split < len(samples):
            raise InputError(
                f"{self.name} must have general and domain samples, not {split} of {len(samples)}"
            )
        general, domain = (
            removal_error(linear.weight, part) for part in (samples[:split], samples[split:])
        )
        return dual_importance(general, domain, self.general_weight)
