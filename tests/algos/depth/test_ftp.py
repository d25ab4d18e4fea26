"""FTP: who skips a block, and how many."""

from __future__ import annotations

import pytest
import torch

from algos.base import Calibration
from algos.depth.ftp import FTP, influences, received_per_query, schedule
from tests.algos.token.drive import LAYOUTS, Model, batch_of, run


def test_redundant_blocks_are_skipped_most() -> None:
    shares = schedule((0.1, 0.4, 0.4), 0.7)
    # what is skipped is as 4 : 1 : 1, .9 in all
    assert shares == pytest.approx((1 - 0.6, 1 - 0.15, 1 - 0.15))


@pytest.mark.parametrize("average", [0.1, 0.5, 1.0])
def test_the_schedule_keeps_its_average(average: float) -> None:
    shares = schedule((1e-9, 0.2, 0.7, 0.1), average)
    assert sum(shares) / 4 == pytest.approx(average)
    assert all(0 <= share <= 1 for share in shares)


def test_influence_is_what_a_block_turns() -> None:
    x = torch.tensor([[[1.0, 0.0]]])
    y = torch.tensor([[[0.0, 1.0]]])
    assert influences([x, x, y]) == pytest.approx((0.0, 1.0, 1.0))
    assert influences([x]) == (1.0,)


def test_attention_is_per_query_that_sees_the_key() -> None:
    probability = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    torch.testing.assert_close(received_per_query(probability), torch.tensor([[0.75, 0.5]]))


def test_blocks_compute_their_share_and_both_ends() -> None:
    batch = batch_of(LAYOUTS["text"], 12, layers=4)
    for _, decision in run(FTP(keep_ratio=0.5), batch, Model(causal=True)):
        assert decision.bypass is not None
        assert (~decision.bypass).sum(1).tolist() == [6, 6]
        assert not bool(decision.bypass[:, [0, -1]].any())


def test_calibration_sets_the_schedule() -> None:
    model, ids = Model(), torch.arange(5)[None]
    layers = [model.captured(layer, ids) for layer in range(4)]
    facts = FTP().calibrate(Calibration(tokens=ids, layers=layers))
    assert len(facts) == 4
    assert facts == influences([layer.hidden for layer in layers])
