"""The ladder of perplexities: its steps, its figures, and the tiny decoder's storage."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from algos.attention.sink_window import SinkWindow
from algos.compress import set_weights
from algos.ladder import STEPS, bits_per_weight, climb, mean_nats
from algos.low_bit import low_bit
from tests.algos.decoders import random_decoder, random_tokens
from workloads.errors import InputError

WINDOW = SinkWindow(sinks=2, recent=10)


@pytest.mark.parametrize(("family", "prune"), [("llama", "sparsegpt"), ("gpt2", "wanda")])
def test_steps(family: str, prune: str) -> None:
    loaded, held_out = random_decoder(family), random_tokens(2, 32, seed=1)
    before = copy.deepcopy(loaded.model.state_dict())
    seen: list[tuple[int, int]] = []
    ladder = climb(
        loaded,
        held_out,
        random_tokens(2, 32, seed=2),
        prune=prune,  # type: ignore[arg-type]
        window=WINDOW,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert tuple(rung.step for rung in ladder.rungs) == STEPS
    assert seen == [(n + 1, 9) for n in range(9)]
    assert all(torch.equal(loaded.model.state_dict()[n], w) for n, w in before.items())
    nats = [rung.nats_per_token for rung in ladder.rungs]
    assert nats[0] == pytest.approx(mean_nats(loaded, held_out))
    assert len(set(nats)) == 8
    assert all(math.exp(rung.nats_per_token) == rung.perplexity for rung in ladder.rungs)
    assert ladder.chance.nats_per_token not in nats
    bits = [rung.bits_per_weight for rung in ladder.rungs]
    assert bits[:2] == [None, None]
    assert bits[4:] == [bits_per_weight(ladder.packed)] * 4
    # the last three steps are the packed weights with one more switch each
    again = random_decoder(family)
    set_weights(again.model, ladder.packed)
    assert mean_nats(again, held_out) == pytest.approx(nats[4], rel=1e-6)
    with low_bit(again, attention=False):
        assert mean_nats(again, held_out) == pytest.approx(nats[5], rel=1e-6)
    with low_bit(again, window=WINDOW):
        assert mean_nats(again, held_out) == pytest.approx(nats[7], rel=1e-6)


def test_loss_of_a_model_that_knows_nothing() -> None:
    loaded = random_decoder("llama")
    loaded.model.lm_head.weight.data.zero_()
    assert mean_nats(loaded, random_tokens(3, 16)) == pytest.approx(math.log(256))


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    loaded = random_decoder("llama")
    loaded.model.lm_head.weight.data[:] = torch.nan
    with pytest.raises(InputError, match=r"^the loss of step FP32 must be finite, not nan nats"):
        climb(loaded, random_tokens(1, 8), random_tokens(1, 8), window=WINDOW)
