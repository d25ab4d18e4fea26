"""STUN: experts that the router treats alike stand for one another.

Lee et al., ACL 2025, arXiv:2409.06211. The closest experts by their router rows are clustered;
a small cluster is averaged, of a large one the member nearest to the mean weights stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity, Ratio
from algos.expert.base import ExpertMethod, check_mixtures
from algos.linkage import clusters
from algos.selection import keep_count, largest
from algos.static.base import (
    BlockPruning,
    BlockView,
    ModelView,
    Need,
    Pattern,
    PrunedWeight,
    Pruning,
)
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor


def router_distance(router: Tensor, by_norm: bool = False) -> Tensor:
    """Return distances (experts, experts) of router rows (experts, hidden).

    Args:
        router: one row an expert.
        by_norm: divide by the norm of the whole router, so that layers can be compared.
    """
    distance: Tensor = (router[:, None] - router[None]).norm(dim=-1)
    return distance / router.norm() if by_norm else distance


def representatives(labels: list[int], weights: Tensor, averaged_up_to: int) -> list[int]:
    """Return the member that stays of each cluster, in the clusters' order.

    Args:
        labels: cluster of each expert.
        weights: (experts, n) all weights of each expert.
        averaged_up_to: clusters up to this size are averaged into their first member; of larger
            ones the member nearest to the mean stays as it is.
    """
    kept = []
    for cluster in range(max(labels) + 1):
        members = [expert for expert, label in enumerate(labels) if label == cluster]
        if len(members) > averaged_up_to:
            rows = weights[members]
            members = [members[int((rows - rows.mean(0)).norm(dim=1).argmin())]]
        kept.append(members[0])
    return kept


class Stun(ExpertMethod):
    """Keep one expert for each cluster of like ones, and in it the weights that matter (Wanda).

    Experts are alike if their router rows are close. Every layer keeps the same number; the paper
    also searches one threshold for all layers, and mixes in how often experts are used together.
    Wanda's norms are of all tokens of a cluster. Budget, of experts' weights: `expert_ratio` by
    experts, rounded down, the rest by weights, short of it by less than one weight a row.
    """

    name: ClassVar[str] = "stun"
    signal: ClassVar[str] = "distance of router rows, then Wanda"
    paper: ClassVar[str] = "Lee et al., ACL 2025, arXiv:2409.06211"
    granularity: ClassVar[str] = "experts, then weights"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    expert_ratio: Ratio = 0.75
    """Share of the experts kept, or `keep_ratio` if that is larger; an estimate."""
    averaged_up_to: Annotated[int, Field(ge=1)] = 2
    """Experts of a cluster that is averaged; of larger ones the most central member stays."""

    def plan(self, model: ModelView) -> Pruning:
        """Cluster the experts of each layer, then prune inside."""
        check_mixtures(model)
        return Pruning(blocks=tuple(self._block(block) for block in model.blocks))

    def _block(self, block: BlockView) -> BlockPruning:
        import torch

        router = block.linears["router"].weight
        count = keep_count(max(self.expert_ratio, self.keep_ratio), block.experts)
        density = min(1.0, self.keep_ratio * block.experts / count)
        labels = clusters(router_distance(router), count)
        whole = torch.stack([_all_weights(block, expert) for expert in range(block.experts)])
        kept = representatives(labels, whole, self.averaged_up_to)
        weights: dict[str, PrunedWeight] = {}
        rows = router.clone()
        for cluster, stays in enumerate(kept):
            members = [expert for expert, label in enumerate(labels) if label == cluster]
            merged = members if len(members) <= self.averaged_up_to else [stays]
            rows[stays] = router[merged].mean(0)
            for part in ("gate", "up", "down"):
                matrices = [block.linears[f"{part}.{expert}"] for expert in merged]
                weight = torch.stack([matrix.weight for matrix in matrices]).mean(0)
                seen = [block.linears[f"{part}.{expert}"].input_squares for expert in members]
                score = wanda_score(weight, torch.stack(seen).sum(0))
                mask = largest(score, keep_count(density, score.shape[1]))
                pattern: Pattern = "dense" if density == 1 else "unstructured"
                weights[f"{part}.{stays}"] = PrunedWeight(weight=weight * mask, pattern=pattern)
        weights["router"] = PrunedWeight(weight=rows, pattern="dense")
        return BlockPruning(weights=weights, experts=torch.tensor([kept[x] for x in labels]))


def _all_weights(block: BlockView, expert: int) -> Tensor:
    import torch

    parts = [block.linears[f"{part}.{expert}"].weight for part in ("gate", "up", "down")]
    return torch.cat([weight.flatten() for weight in parts])
