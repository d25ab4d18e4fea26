"""A3's greedy search: by hand, against its paper's steps in plain Python, and on real attention."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.blocks.greedy import (
    AGGRESSIVE,
    CONSERVATIVE,
    Approximation,
    candidates,
    measured_ratios,
    survivors,
)
from sim.machines.a3 import A3
from sim.machines.mnnfast import MnnFast
from workloads.errors import InputError


def test_search_by_hand() -> None:
    """Query (2, -1): products are (2, -1), (-2, 3), (8, -3) for keys 0 to 2."""
    query = np.array([2.0, -1.0])
    keys = np.array([[1.0, 1.0], [-1.0, -3.0], [4.0, 3.0]])
    assert candidates(query, keys, 1).tolist() == [False, False, True]  # + 8 - 3 for key 2
    assert candidates(query, keys, 2).tolist() == [False, True, True]  # + 3 - 2 for key 1
    assert candidates(query, keys, 6).tolist() == [True, True, True]  # exact: 1, 1, 5


def plain_candidates(query: list[float], keys: list[list[float]], iterations: int) -> list[bool]:
    """Walk two pointers in each sorted column, as the paper's search does."""
    columns = []
    for channel, weight in enumerate(query):
        products = sorted((key[channel] * weight, number) for number, key in enumerate(keys))
        columns.append(products)
    top = [len(keys) - 1] * len(query)
    bottom = [0] * len(query)
    greedy = [0.0] * len(keys)
    for _ in range(min(iterations, len(query) * len(keys))):
        open_top = [c for c in range(len(query)) if top[c] >= 0]
        best = max(open_top, key=lambda c: columns[c][top[c]][0])
        value, owner = columns[best][top[best]]
        top[best] -= 1
        greedy[owner] += max(value, 0.0)
        open_bottom = [c for c in range(len(query)) if bottom[c] < len(keys)]
        worst = min(open_bottom, key=lambda c: columns[c][bottom[c]][0])
        value, owner = columns[worst][bottom[worst]]
        bottom[worst] += 1
        greedy[owner] += min(value, 0.0)
    return [score > 1e-12 for score in greedy]


@pytest.mark.parametrize(("count", "dim", "iterations"), [(1, 1, 1), (7, 3, 5), (20, 8, 40)])
def test_search_is_the_two_pointer_walk(count: int, dim: int, iterations: int) -> None:
    random = np.random.default_rng(count)
    for _ in range(20):
        query, keys = random.normal(size=dim), random.normal(size=(count, dim))
        expected = plain_candidates(query.tolist(), keys.tolist(), iterations)
        assert candidates(query, keys, iterations).tolist() == expected


def test_survivors_are_those_near_the_best_candidate() -> None:
    scores = np.array([5.0, 5.0 - math.log(20) + 1e-9, 5.0 - math.log(20) - 1e-9, 9.0])
    found = np.array([True, True, True, False])
    assert survivors(scores, found, 0.05).tolist() == [True, True, False, False]
    assert not survivors(scores, np.zeros(4, np.bool_), 0.05).any()


def test_a_nan_is_refused() -> None:
    with pytest.raises(InputError, match=r"^queries and keys of the greedy search must be numbers"):
        candidates(np.array([np.nan]), np.ones((2, 1)), 1)


@pytest.mark.model
def test_defaults_are_what_minilm_gives() -> None:
    """Ratios of 12 sentences, every head of every layer."""
    torch = pytest.importorskip("torch")
    from workloads.capture import Recorder, attached
    from workloads.models import load_encoder
    from workloads.tasks import read_sentence_pairs, tokenize

    loaded = load_encoder()
    texts = tokenize(read_sentence_pairs(None, 6), loaded.tokenizer, 512)
    found: dict[Approximation, list[tuple[float, float]]] = {CONSERVATIVE: [], AGGRESSIVE: []}
    likely = []
    for text in texts:
        recorder = Recorder()
        with torch.no_grad(), attached(loaded.model, recorder):
            loaded.model(input_ids=torch.tensor([text]))
        for layer in recorder.layers:
            heads = zip(layer.step.query[0].double(), layer.step.key[0].double(), strict=True)
            for query, key in heads:
                queries, keys = query.numpy() / math.sqrt(query.shape[-1]), key.numpy()
                for approximation, ratios in found.items():
                    ratios.append(measured_ratios(queries, keys, approximation))
                weights = np.exp(queries @ keys.T)
                likely.append(float((weights >= 0.1 * weights.sum(1, keepdims=True)).mean()))
    machine = A3()
    conservative, aggressive = (np.mean(found[a], axis=0) for a in (CONSERVATIVE, AGGRESSIVE))
    assert conservative == pytest.approx(
        (machine.candidate_ratio, machine.survivor_ratio), abs=0.02
    )
    assert aggressive == pytest.approx((0.11, 0.08), abs=0.02)
    assert np.mean(likely) == pytest.approx(MnnFast().value_ratio, abs=0.02)
