"""Rules of single methods, worked by hand or against another way to the same number."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from algos.static.base import LinearView, Outcome
from algos.static.run import prune
from algos.weight.allocate import clip, meet_budget
from algos.weight.armor import first_mask, normalized
from algos.weight.base import WeightPlan, global_plan
from algos.weight.block_factors import factorize
from algos.weight.component_magnitude import ComponentMagnitude, component_ratios
from algos.weight.constant_block import ConstantBlock, block_score
from algos.weight.d_pruner import DPruner, dual_importance, removal_error
from algos.weight.ecoflap import EcoFlap, ecoflap_ratios
from algos.weight.gblm import GblmPruner
from algos.weight.global_magnitude import GlobalMagnitude
from algos.weight.icbs import improve, objective
from algos.weight.magnitude import Magnitude, above_threshold
from algos.weight.obert import compensated, inverse_fisher, saliency
from algos.weight.owl import outlier_share, owl_ratios
from algos.weight.pattern import keep_global, keep_matrix, keep_rows, kept_count
from algos.weight.rd_layers import best_levels, output_distortion
from algos.weight.sparsegpt import hessian_of, prune_unstructured
from algos.weight.wanda import cumulative_mask
from tests.algos.static.models import random_model
from workloads.errors import InputError


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def view(weight: torch.Tensor, **fields: Any) -> LinearView:
    return LinearView(layer=0, operator="up", weight=weight, **fields)


def test_the_share_pruned_is_rounded_down() -> None:
    assert [kept_count(0.5, n) for n in (1, 4, 5)] == [1, 2, 3]
    assert kept_count(0.3, 10) == 3  # though 0.7 * 10 is just below 7 in binary
    assert kept_count(1.0, 7) == 7
    assert kept_count(1e-9, 7) == 1


def test_rows_matrices_and_models_keep_their_largest() -> None:
    score = torch.tensor([[1.0, 8, 2, 3], [9, 7, 6, 5]])
    assert keep_rows(score, 0.5).int().tolist() == [[0, 1, 0, 1], [1, 1, 0, 0]]
    assert keep_matrix(score, 0.5).int().tolist() == [[0, 1, 0, 0], [1, 1, 1, 0]]
    first, second = keep_global([score[:1], score[1:]], 0.25)
    assert (first.int().tolist(), second.int().tolist()) == ([[0, 1, 0, 0]], [[1, 0, 0, 0]])


def test_the_authors_threshold_prunes_one_more_and_ties() -> None:
    score = torch.tensor([[1.0, 2, 3, 4]])
    assert above_threshold(score, 0.5).int().tolist() == [[0, 0, 0, 1]]
    assert above_threshold(torch.ones(2, 2), 0.5).sum() == 0
    weight = torch.tensor([[1.0, -2, 3, -4]])
    paper = Magnitude().prune_linear(view(weight), WeightPlan()).weight
    assert paper.tolist() == [[0, 0, 3, -4]]


def test_wandas_variant_drops_equal_shares_of_rows_sums() -> None:
    """Alpha 0.4 is too much: 2 and all 3 equal ones go. At 0.2 sums of 2 and 4 fit: 1 and 3."""
    score = torch.tensor([[1.0, 2, 3, 4], [8, 4, 4, 4]])
    assert cumulative_mask(score, 0.5).int().tolist() == [[0, 1, 1, 1], [1, 0, 0, 0]]


def test_sparsegpt_without_a_pattern_by_hand() -> None:
    """Dropping w0 moves w1 by w0 * H01 / H11, with 0.01 * 2 of damping on the diagonal."""
    hessian = torch.tensor([[2.0, 1, 0, 0], [1, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]])
    weight = torch.tensor([[0.1, 3.0, 4.0, 5.0], [6.0, 7.0, 0.2, 0.3]])
    found = prune_unstructured(weight, hessian, 0.625)
    np.testing.assert_allclose(found, [[0, 3 + 0.1 / 2.02, 4, 5], [6, 7, 0, 0]], rtol=1e-6)


def test_sparsegpt_repairs_within_its_blocks() -> None:
    inputs = draw(4, 64, 64) @ (draw(64, 64, seed=1) * torch.linspace(0, 1, 64))
    weight = draw(16, 64, seed=2)
    losses = []
    for found in (
        prune_unstructured(weight, hessian_of(inputs), 0.5),
        prune_unstructured(weight, hessian_of(inputs), 0.5, block=16),
        weight * keep_matrix(weight.abs(), 0.5),
    ):
        assert int((found != 0).sum()) == 512
        losses.append(float((inputs @ (weight - found).T).square().mean()))
    assert max(losses[:2]) < losses[2]


def test_gblm_norms_and_signals() -> None:
    from algos.static.base import Gradients

    gradients = Gradients(
        total=torch.zeros(1, 2),
        total_abs=torch.tensor([[3.0, 4]]),
        total_square=torch.tensor([[25.0, 4]]),
        samples=(),
    )
    linear = view(torch.tensor([[2.0, -1]]), inputs=(torch.eye(2),), gradients=gradients)
    assert GblmPruner(scale=10).score(linear).tolist() == [[62, 41]]
    assert GblmPruner(scale=10, norm="l2").score(linear).tolist() == [[102, 21]]
    assert GblmPruner(signals="gradient").score(linear).tolist() == [[6, 4]]


def test_the_fisher_matrix_is_inverted() -> None:
    gradients = draw(7, 5).double()
    inverse = inverse_fisher(gradients, block=3, damp=0.1)
    for number, part in enumerate((slice(0, 3), slice(3, 5))):
        g = gradients[:, part]
        expected = torch.linalg.inv(0.1 * torch.eye(g.shape[1]).double() + g.T @ g / 7)
        torch.testing.assert_close(inverse[number][: g.shape[1], : g.shape[1]], expected)


def test_removing_one_weight_costs_what_its_saliency_says() -> None:
    """The best change of the others under the quadratic of the Fisher matrix."""
    gradients, weight = draw(9, 4).double(), draw(4, seed=1).double()
    fisher = 0.1 * torch.eye(4).double() + gradients.T @ gradients / 9
    inverse = inverse_fisher(gradients, block=4, damp=0.1)
    mask = torch.tensor([True, True, False, True])
    change = compensated(weight, mask, inverse) - weight
    assert change[2] == -weight[2]
    assert float(change @ fisher @ change / 2) == pytest.approx(float(saliency(weight, inverse)[2]))


def test_armor_improves_on_its_first_mask() -> None:
    weight, columns, rows = normalized(draw(32, 48))
    squares = draw(48, seed=1).square() + 0.1
    generator = torch.Generator().manual_seed(0)
    mask, losses = first_mask(weight, squares), []
    for steps in (0, 1, 20):
        found = factorize(weight, squares, mask, block=16, steps=steps, generator=generator)
        losses.append(float(((weight - found.product).square() * squares).sum()))
        assert ((found.core != 0).view(32, -1, 4).sum(-1) <= 2).all()
        assert found.left.shape == (2, 16, 16)
        assert found.right.shape == (3, 16, 16)
        if not steps:
            torch.testing.assert_close(found.product, weight * mask)
    assert losses[0] > losses[1] > losses[2]
    torch.testing.assert_close(weight * rows[:, None] * columns, draw(32, 48))


def test_a_budget_is_met_by_clipped_shares() -> None:
    found = meet_budget(lambda x: [clip(2 * x, 0.1), clip(x, 0.1)], [1, 3], 0.625, 0.0, 1.0)
    assert found == pytest.approx([1.0, 0.5])
    with pytest.raises(InputError, match=r"within reach of the layers' shares, 0.5 is the nearest"):
        meet_budget(lambda x: [0.5], [4], 0.25, 0.0, 1.0)


def test_components_have_sparsities_in_the_papers_ratio() -> None:
    first, second = component_ratios((300, 700), 0.6, 0.475 / 0.35)
    assert (1 - first) / (1 - second) == pytest.approx(0.475 / 0.35)
    assert 0.3 * first + 0.7 * second == pytest.approx(0.6)
    assert component_ratios((500, 500), 0.1, 2)[0] == pytest.approx(0.001)  # nothing is left
    model, shape, calibration = random_model("llama")
    found = prune(ComponentMagnitude(keep_ratio=0.6), model, shape, calibration)
    kept = [float((block.weights["up"].weight != 0).float().mean()) for block in found.blocks]
    assert (1 - kept[0]) / (1 - kept[1]) == pytest.approx(0.475 / 0.35, abs=0.01)


def test_global_magnitude_has_one_threshold_above_the_least() -> None:
    model, shape, calibration = random_model("llama")
    model.model.layers[0].mlp.up_proj.weight.data *= 1e-3
    found = prune(GlobalMagnitude(keep_ratio=0.3, least=0.1), model, shape, calibration)
    small = found.blocks[0].weights["up"].weight
    assert int((small != 0).sum()) == kept_count(0.1, small.numel())
    others = [w.weight for b in found.blocks for n, w in b.weights.items() if w.weight is not small]
    dense = [p.detach() for n, p in model.named_parameters() if n.endswith("proj.weight")]
    dense = [
        p for p in dense if p.numel() and not p.equal(model.model.layers[0].mlp.up_proj.weight)
    ]
    smallest_kept = min(float(w[w != 0].abs().min()) for w in others)
    gone = sum(int((p.abs() < smallest_kept).sum()) for p in dense)
    assert gone == sum(int((w == 0).sum()) for w in others)
    with pytest.raises(InputError, match=r"^global-magnitude least must be at most keep_ratio 0.3"):
        prune(GlobalMagnitude(keep_ratio=0.3, least=0.4), model, shape, calibration)
    with pytest.raises(
        InputError, match=r"^layer 2 up: every score must be finite, that of output"
    ):
        global_plan({(2, "up"): torch.tensor([[torch.nan]])}, 0.5)


def test_owl_ratios_follow_outliers() -> None:
    assert outlier_share(torch.tensor([1.0, 1, 1, 1, 21]), 4) == pytest.approx(0.2)
    found = owl_ratios([0.01, 0.03, 0.02], [10, 10, 10], 0.5, 0.08)
    assert found == pytest.approx([0.42, 0.58, 0.5])
    assert owl_ratios([0.2, 0.2], [10, 30], 0.7, 0.08) == pytest.approx([0.7, 0.7])


def test_ecoflap_ratios_are_proportional_within_bounds() -> None:
    found = ecoflap_ratios([3.0, 2.0, 2.8], [10, 10, 10], 0.5, 0.1)
    assert sum(found) == pytest.approx(1.5)
    assert found[1] == pytest.approx(0.4)  # 0.385 would be sparser than allowed
    assert found[0] / found[2] == pytest.approx(3 / 2.8)
    assert ecoflap_ratios([0.0, 0.0], [10, 10], 0.5, 0.1) == pytest.approx([0.5, 0.5])


def test_ecoflap_spares_the_layer_that_the_loss_depends_on() -> None:
    model, shape, calibration = random_model("llama")
    for part in (model.model.layers[0].mlp.down_proj, model.model.layers[0].self_attn.o_proj):
        part.weight.data *= 0  # nothing that layer 0 computes is seen
    for name in ("q_proj", "k_proj", "v_proj"):
        getattr(model.model.layers[0].self_attn, name).weight.data *= 1e-3
    model.model.layers[0].mlp.up_proj.weight.data *= 0
    model.model.layers[0].mlp.gate_proj.weight.data *= 0
    found = prune(EcoFlap(), model, shape, calibration)
    kept = [float((block.weights["query"].weight != 0).float().mean()) for block in found.blocks]
    assert kept[0] < 0.45
    assert kept[1] > 0.55


def test_the_best_levels_are_those_of_an_exhaustive_search() -> None:
    sizes = [4, 8, 4, 12]
    distortion = np.sort(np.random.default_rng(0).random((4, 5)), axis=1)[:, ::-1].copy()
    distortion[:, -1] = 0
    for keep_ratio in (0.2, 0.37, 0.5, 0.9, 1.0):
        found = best_levels(distortion, sizes, keep_ratio)
        spent = sum(level * size for level, size in zip(found, sizes, strict=True)) / 5
        assert spent <= keep_ratio * sum(sizes) + 1e-9
        costs = [
            sum(distortion[i, level - 1] for i, level in enumerate(levels))
            for levels in itertools.product(range(1, 6), repeat=4)
            if sum(n * level for n, level in zip(sizes, levels, strict=True))
            <= 5 * keep_ratio * sum(sizes) + 1e-9
        ]
        own = sum(distortion[i, level - 1] for i, level in enumerate(found))
        assert own == pytest.approx(min(costs))
    with pytest.raises(InputError, match=r"^keep_ratio must be at least 1 / 5 levels, not 0.1$"):
        best_levels(distortion, sizes, 0.1)


def test_output_distortion_is_a_mean_over_samples() -> None:
    def outcome(*outputs: torch.Tensor) -> Outcome:
        return Outcome(losses=(0.0, 0.0), outputs=outputs, hidden=())

    pruned = outcome(torch.tensor([[1.0, 3]]), torch.zeros(3, 2))
    dense = outcome(torch.tensor([[1.0, 1]]), torch.ones(3, 2))
    assert output_distortion(pruned, dense) == pytest.approx((2 + 1) / 2)


def test_blocks_of_four_outputs_go_together() -> None:
    weight = torch.arange(1.0, 17).view(8, 2)
    weight[0] = torch.tensor([100.0, -200.0])
    assert block_score(weight, 4, 1).tolist() == [[115, 218], [48, 52]]
    found = ConstantBlock(keep_ratio=0.5).prune_linear(view(weight), WeightPlan())
    assert (found.weight != 0).int().tolist() == [[1, 1]] * 4 + [[0, 0]] * 4
    assert (found.pattern, found.block_rows, found.block_columns) == ("block", 4, 1)
    with pytest.raises(
        InputError, match=r"^layer 0 up must divide into blocks of 3 x 1, not \(8, 2"
    ):
        ConstantBlock(block_rows=3).prune_linear(view(weight), WeightPlan())


def test_removal_error_is_that_of_a_quadratic() -> None:
    weight = torch.tensor([[2.0, -1]])
    gradients = (torch.tensor([[1.0, 3]]), torch.tensor([[3.0, 1]]))
    # g = 2 and 2, F = 5 and 5: |-4 + 10|, |2 + 2.5|
    assert removal_error(weight, gradients).tolist() == [[6, 4.5]]
    found = dual_importance(torch.tensor([1.0, 3]), torch.tensor([4.0, 4]), 0.5)
    assert found.tolist() == [1.25, 1.75]
    assert dual_importance(torch.zeros(2), torch.zeros(2), 0.5).tolist() == [0, 0]


def test_d_pruner_needs_both_kinds_of_samples() -> None:
    model, shape, calibration = random_model("llama")
    with pytest.raises(
        InputError, match=r"^d-pruner must have general and domain samples, not 4 of"
    ):
        prune(DPruner(general_share=1.0), model, shape, calibration)


def test_icbs_finds_the_best_mask_of_a_small_row() -> None:
    better = 0
    for seed in range(20):
        inputs, weight = draw(30, 8, seed=seed), draw(1, 8, seed=100 + seed)
        inputs = inputs @ draw(8, 8, seed=200 + seed)
        hessian = inputs.T @ inputs
        start = keep_rows(weight.abs() * inputs.norm(dim=0), 0.5)
        found = improve(weight, hessian, start, block=4, rounds=20)
        assert int(found.sum()) == 4
        before, after = (float(objective(weight, hessian, m)) for m in (start, found))
        assert after <= before * (1 + 1e-5)
        better += after < 0.99 * before
        swaps = [
            found.clone().index_put_((torch.tensor([0, 0]), torch.tensor([i, j])), swap)
            for i in range(8)
            for j in range(8)
            if found[0, i] and not found[0, j]
            for swap in [torch.tensor([False, True])]
        ]
        assert after <= min(float(objective(weight, hessian, m)) for m in swaps) * (1 + 1e-4)
    assert better > 5


def test_icbs_has_nothing_to_exchange_when_all_is_kept() -> None:
    weight, mask = draw(2, 4), torch.ones(2, 4, dtype=torch.bool)
    assert improve(weight, torch.eye(4), mask, block=2, rounds=3).all()
