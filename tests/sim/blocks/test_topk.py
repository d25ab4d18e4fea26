"""Top-k engine: golden function, timing kernel, agreement with the authors' latency law."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.blocks import topk
from sim.blocks.topk import TopKConfig, filter_cycles, selection_timing, topk_golden
from workloads.errors import InputError
from workloads.trace import Ragged

scores_and_k = st.lists(st.integers(0, 40), min_size=1, max_size=70).flatmap(
    lambda scores: st.tuples(st.just(np.array(scores)), st.integers(0, len(scores)))
)


def group(rows, k, config=None, known=True, seed=0):
    """Time one group of equal selections."""
    rows = np.atleast_2d(np.asarray(rows))
    scores = Ragged(rows.reshape(-1), np.array([0, rows.size]), np.array([known]))
    sizes = [np.array([n]) for n in (rows.shape[0], rows.shape[1], k)]
    return selection_timing(config or TopKConfig(), *sizes, scores, seed)


@given(scores_and_k)
def test_golden_keeps_the_largest_in_order_and_ties_keep_the_lowest_index(case):
    scores, k = case
    kept = topk_golden(TopKConfig(), scores, k)
    by_rule = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])
    assert kept.tolist() == by_rule


def test_golden_ties_by_hand():
    assert topk_golden(TopKConfig(), np.array([5, 9, 5, 5, 1]), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scores", [[4096], [-1]])
def test_golden_refuses_scores_outside_the_width(scores):
    with pytest.raises(InputError, match=r"^TopK scores must be in 0\.\.4095, not"):
        topk_golden(TopKConfig(), np.array(scores), 1)


def test_golden_refuses_more_scores_than_the_depth():
    with pytest.raises(InputError, match=r"^TopK input must hold at most 4 scores, not 5$"):
        topk_golden(TopKConfig(depth=4), np.arange(5), 1)


def test_timing_refuses_more_scores_than_the_depth():
    with pytest.raises(InputError, match=r"^TopK input must hold at most 4 scores, not 5$"):
        group(np.arange(5), 1, TopKConfig(depth=4))


def test_lanes_must_be_a_power_of_two():
    with pytest.raises(InputError, match=r"^TopK lanes must be a power of 2, not 6$"):
        TopKConfig(lanes=6)


def test_equal_scores_need_one_pass():
    timing = group([7] * 40, 10)
    # all equal the pivot: above 0, equal 40, so 10 of them are kept after one pass of ceil(40/16)
    assert timing.passes.tolist() == [1]
    assert timing.cycles.tolist() == [3 + 3]
    assert timing.streamed.tolist() == [40]


def test_one_pass_by_hand():
    """Two scores, one kept: the first pivot decides how many passes there are."""
    timing = group([[1, 2], [2, 1]], 1)
    # LFSR: 0xACE1 -> 0xE270, index 0xE270 * 2 >> 16 = 1. Row 0: pivot 2, above 0 and equal 1
    # reach the target, so the lower half is read again (algorithm 2 compares with <=): pivot 1,
    # above 0, equal 1, target 0: done. Row 1: pivot 1, above 1 + equal 1 > target, above <= target.
    assert timing.cycles.tolist() == [2 * (1 + 3), 1 + 3]


@pytest.mark.parametrize("k", [5, 9])
def test_keeping_all_bypasses_the_engine(k):
    timing = group([3, 1, 4, 1, 5], k)
    assert timing.cycles.tolist() == [0]
    assert timing.passes.tolist() == [0]


@given(scores_and_k, st.sampled_from([1, 2, 16, 64]))
def test_kernel_equals_its_python_twin(case, lanes):
    scores, k = case
    work = np.empty((3, len(scores)), np.int64)
    if k >= len(scores):
        return
    compiled = topk._select(scores, k, work).tolist()
    assert compiled == topk._select.py_func(scores, k, work.copy()).tolist()
    cycles = group(scores, k, TopKConfig(lanes=lanes)).cycles[0]
    assert cycles == sum(-(-size // lanes) + 3 for size in compiled)


@given(scores_and_k)
def test_passes_end_with_the_right_threshold(case):
    """Replay the passes on sets: the engine's FIFOs always hold the k-th largest."""
    scores, k = case
    if k == 0 or k >= len(scores):
        return
    work = np.empty((3, len(scores)), np.int64)
    sizes = topk._select(scores, k, work)
    assert sizes[0] == len(scores)
    assert all(later < earlier for earlier, later in itertools.pairwise(sizes))


# (n, k): mean cycles of the authors' latency model at 16 lanes, 4,000 random trials
AUTHORS = {
    (64, 32): 37.2,
    (128, 64): 55.1,
    (384, 192): 116.7,
    (1024, 512): 258.3,
    (1024, 64): 194.4,
}


@pytest.mark.fidelity
@pytest.mark.parametrize(("n", "k"), AUTHORS)
@pytest.mark.parametrize("known", [True, False], ids=["recorded", "drawn"])
def test_mean_cycles_agree_with_the_authors_model(n, k, known):
    random = np.random.default_rng(5)
    rows = np.stack([random.permutation(4096)[:n] for _ in range(4000)]).astype(np.uint16)
    mean = group(rows, k, known=known).cycles.mean()
    assert mean == pytest.approx(AUTHORS[n, k], rel=0.02)


def test_drawn_timing_depends_only_on_the_seed():
    rows = np.zeros((50, 100), np.uint16)
    first, again = (group(rows, 30, known=False, seed=3).cycles for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != group(rows, 30, known=False, seed=4).cycles.tolist()


def test_filter_streams_the_whole_input_once():
    assert filter_cycles(TopKConfig(), 33) == 3 + 3
    assert filter_cycles(TopKConfig(lanes=1, pass_overhead_cycles=0), 33) == 33
