"""N:M masks: by hand, ties, and the masks of other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from algos.weight.magnitude import magnitude_score, random_score
from algos.weight.pattern import keep_largest
from algos.weight.wanda import input_squares, wanda_score
from workloads.errors import InputError

SharedFiles = Callable[[str], list[Path]]


def test_two_of_four_by_hand() -> None:
    score = torch.tensor([[1.0, 4, 3, 2, 9, 0, 8, 7], [0.0, 0, 1, 2, 5, 5, 5, 5]])
    expected = [[0, 1, 1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 1, 1, 0, 0]]
    assert keep_largest(score).int().tolist() == expected


def test_ties_keep_the_lower_index() -> None:
    assert keep_largest(torch.zeros(1, 8), 3, 8).int().tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert keep_largest(torch.tensor([[1.0, 2, 1, 2]]), 3).int().tolist() == [[1, 1, 0, 1]]


@pytest.mark.parametrize(("kept", "of"), [(1, 4), (2, 4), (3, 4), (4, 8), (4, 4)])
def test_every_group_keeps_its_number(kept: int, of: int) -> None:
    generator = torch.Generator().manual_seed(0)
    score = random_score(torch.zeros(5, 24), generator)
    mask = keep_largest(score, kept, of)
    groups = mask.view(5, -1, of)
    assert (groups.sum(-1) == kept).all()
    least = score.view_as(groups).masked_fill(~groups, torch.inf).amin(-1)
    most = score.view_as(groups).masked_fill(groups, -torch.inf).amax(-1)
    assert (least >= most).all()


def test_inputs_must_fill_whole_groups() -> None:
    with pytest.raises(InputError, match=r"^fc1: inputs must be a multiple of 4, not 6$"):
        keep_largest(torch.zeros(2, 6), layer="fc1")


def test_wanda_weighs_by_the_norm_of_an_input() -> None:
    inputs = torch.tensor([[[3.0, 1], [4, 1]], [[5, 0], [0, 1]]])  # 2 samples of 2 tokens
    squares = input_squares(inputs)
    assert squares.tolist() == [25, 1.5]
    assert wanda_score(torch.tensor([[-2.0, 4]]), squares)[0, 0] == 10


@pytest.mark.fidelity
def test_norms_equal_those_of_wandas_program(shared_files: SharedFiles) -> None:
    for path in shared_files("parity/wanda_norm*.npz"):
        case = np.load(path)
        found = input_squares(torch.tensor(case["x"])).numpy()
        np.testing.assert_allclose(found, case["scaler_row"], rtol=1e-5)


@pytest.mark.fidelity
@pytest.mark.parametrize(("pattern", "kept", "of"), [("24", 2, 4), ("48", 4, 8)])
def test_masks_equal_those_of_wandas_program(
    shared_files: SharedFiles, pattern: str, kept: int, of: int
) -> None:
    layers = 0
    for path in shared_files("parity/wanda_magnitude*.npz"):
        case = np.load(path)
        for key in (key for key in case.files if key.startswith(f"wanda_{pattern}/")):
            name = key.partition("/")[2].removesuffix(".weight")
            weight = torch.tensor(case[f"dense/{name}.weight"])
            squares = torch.tensor(case[f"stat_wanda_{pattern}/{name}.scaler_row"])
            mask = keep_largest(wanda_score(weight, squares), kept, of)
            assert np.array_equal((weight * mask).numpy(), case[key]), key
            if f"mag_{pattern}/{name}.weight" in case.files:
                mask = keep_largest(magnitude_score(weight), kept, of)
                assert np.array_equal((weight * mask).numpy(), case[f"mag_{pattern}/{name}.weight"])
            layers += 1
    assert layers >= 14


@pytest.mark.fidelity
def test_masks_equal_those_of_asts_program(shared_files: SharedFiles) -> None:
    for path in shared_files("parity/ast*.npz"):
        case = np.load(path)
        weight, squares = torch.tensor(case["W"]), torch.tensor(case["scaler_row"])
        for name, score in (
            ("magnitude", magnitude_score(weight)),
            ("wanda", wanda_score(weight, squares)),
        ):
            expected = case[f"{name}_structured"].astype(bool)
            assert np.array_equal(keep_largest(score).numpy(), expected), name
