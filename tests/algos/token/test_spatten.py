"""SpAtten: importance by hand, and what each parameter does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algos.base import AttentionOutcome, Batch, Precision
from algos.dense import Dense
from algos.harness import run_method
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten, magnitude, received
from workloads.models import LoadedModel, load_encoder
from workloads.shapes import ModelShape
from workloads.step import AttentionStep
from workloads.tasks import accuracy, read_sentence_pairs, tokenize

Sequences = list[list[int]]
WHOLE = {"token_keep_ratio": 1.0, "head_keep_ratio": 1.0, "value_keep_ratio": 1.0}
TWELVE = {"msb_bits": 12, "lsb_bits": 0, "value_bits": 12}
SHAPE = ModelShape(
    name="hand", layers=3, heads=2, kv_heads=2, head_dim=1, hidden=2, intermediate=4, source="hand"
)


def hand_step(layer: int, tokens: list[int]) -> AttentionStep:
    empty = torch.zeros(1, 2, len(tokens), 1)
    ids = torch.tensor([tokens])
    return AttentionStep(
        layer=layer,
        step=0,
        query=empty,
        key=empty,
        value=empty,
        scale=1.0,
        mask=None,
        query_ids=ids,
        key_ids=ids,
        tokens_dense=4,
    )


def hand_outcome(probability: list[list[float]], output: list[float]) -> AttentionOutcome:
    """All heads see the same probabilities; a head puts out one number for every query."""
    p = torch.tensor(probability)
    return AttentionOutcome(
        output=torch.tensor(output).view(1, -1, 1, 1).expand(-1, -1, len(p), 1),
        probability=p.expand(1, len(output), -1, -1),
        precision=Precision(q_bits=12, k_bits=12, v_bits=12),
    )


def test_importance_and_selection_by_hand() -> None:
    method = SpAtten(token_keep_ratio=0.5, token_keep_ratio_end=0.25, head_keep_ratio=0.5)
    state = method.begin(Batch(shape=SHAPE, tokens=4, generators=(torch.Generator(),)))
    first = hand_outcome(
        [[0.5, 0.25, 0.0, 0.25], [0.5, 0.0, 0.25, 0.25], [1, 0, 0, 0], [0, 0.25, 0.25, 0.5]],
        [-1.0, 0.5],
    )
    decision = method.after_layer(hand_step(0, [0, 1, 2, 3]), first, state)
    # two heads, summed over queries: 2 * (2, 0.5, 0.5, 1); the tie of 1 and 2 goes to 1
    assert decision.token_importance.tolist() == [[4, 1, 1, 2]]
    assert decision.head_importance.tolist() == [[4, 2]]
    # layer 1 enters with 0.75 * 4 = 3 tokens; the first ceil(0.3 * 3) = 1 layers keep both heads,
    # layer 1 keeps 2/3 * 2 -> 1 head
    assert decision.kept_tokens.tolist() == [[0, 1, 3]]
    assert decision.kept_heads.tolist() == [[0]]
    token, head = decision.selections
    assert token.codes.tolist() == [[[[4095, 1024, 1024, 2048]]]]
    assert head.codes.tolist() == [[[[4095, 2048]]]]

    second = AttentionOutcome(
        output=torch.full((1, 1, 3, 1), 3.0),
        probability=torch.tensor([[[[0.0, 1.0, 0.0]] * 3]]),
        precision=first.precision,
    )
    decision = method.after_layer(hand_step(1, [0, 1, 3]), second, state)
    # (4, 1, 2) + (0, 3, 0): a tie of 0 and 1, and 0.25 * 4 = 1 token is left
    assert decision.token_importance.tolist() == [[4, 4, 2]]
    assert decision.head_importance.tolist() == [[13]]
    assert decision.kept_tokens.tolist() == [[0]]
    assert decision.kept_heads is None  # one head cannot become fewer

    last = method.after_layer(hand_step(2, [0]), hand_outcome([[1.0]], [1.0]), state)
    assert last.kept_tokens is None
    assert last.selections == ()


def test_signals() -> None:
    x = torch.tensor([[[[1.0, -2.0], [3.0, 0.5]], [[0.0, 1.0], [1.0, 0.0]]]])
    assert received(x).tolist() == [[5.0, -0.5]]
    assert magnitude(x).tolist() == [[6.5, 2.0]]


def test_local_value_pruning_by_hand() -> None:
    method = SpAtten(**WHOLE | {"value_keep_ratio": 0.5}, **TWELVE)
    state = method.begin(Batch(shape=SHAPE, tokens=4, generators=(torch.Generator(),)))
    # scores are the key itself: exp of log-probabilities gives 0.4, 0.1, 0.4, 0.1
    key = torch.tensor([0.4, 0.1, 0.4, 0.1]).log().view(1, 1, 4, 1)
    value = torch.tensor([1.0, 10.0, 2.0, 100.0]).view(1, 1, 4, 1)
    step = AttentionStep(
        layer=0,
        step=0,
        query=torch.ones(1, 1, 1, 1),
        key=key,
        value=value,
        scale=1.0,
        mask=None,
        query_ids=torch.zeros(1, 1, dtype=torch.long),
        key_ids=torch.arange(4).unsqueeze(0),
        tokens_dense=4,
    )
    outcome = method.attend(step, state)
    assert outcome.values_used is not None
    assert outcome.values_used.flatten().tolist() == [True, False, True, False]
    # 0.4 * 1 + 0.4 * 2, not renormalised; V has steps of 100 / 2047
    assert outcome.output.item() == pytest.approx(1.2, abs=0.05)


def test_whole_and_12_bits_is_dense(encoder: LoadedModel, sequences: Sequences) -> None:
    dense = run_method(Dense(bits=12), encoder, sequences, workload="test").embeddings
    whole = run_method(SpAtten(**WHOLE, **TWELVE), encoder, sequences, workload="test").embeddings
    np.testing.assert_allclose(whole, dense, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"value_keep_ratio": 0.5},
        {"msb_bits": 4},
        {"value_bits": 4},
        {"query_bits": 4},
        {"token_keep_ratio": 0.6},
        {"head_keep_ratio": 0.6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_saving_changes_the_output(
    change: dict[str, float], encoder: LoadedModel, sequences: Sequences
) -> None:
    whole = run_method(SpAtten(**WHOLE, **TWELVE), encoder, sequences, workload="test").embeddings
    less = SpAtten(**WHOLE | TWELVE | change)
    found = run_method(less, encoder, sequences, workload="test").embeddings
    assert np.abs(found - whole).max() > 1e-4


def test_pruned_heads_contribute_nothing(encoder: LoadedModel, sequences: Sequences) -> None:
    """Where a head was pruned, its part of the output projection may hold anything."""
    method = SpAtten(head_keep_ratio=0.5)
    sequence = sequences[:1]
    run = run_method(method, encoder, sequence, workload="test")
    attention = run.trace({}).tables["attention"].to_pandas()
    pruned = attention[~attention.alive & (attention.layer == 5)]["head"].to_numpy()
    assert len(pruned) == 3
    projection = encoder.model.encoder.layer[5].attention.output.dense.weight
    with torch.no_grad():
        for head in pruned:
            projection[:, head * 8 : head * 8 + 8] = 1e3
    again = run_method(method, encoder, sequence, workload="test")
    np.testing.assert_array_equal(again.embeddings, run.embeddings)


def test_recomputed_queries_are_recorded(encoder: LoadedModel, sequences: Sequences) -> None:
    method = SpAtten(requant_threshold=0.3)
    attention = (
        run_method(method, encoder, sequences, workload="test").trace({}).tables["attention"]
    )
    rows = attention.to_pandas()
    assert 0 < rows.recomputed.sum() < rows.queries.sum()
    lengths = rows[rows.alive].recomputed_queries.map(len)
    assert (lengths == rows[rows.alive].recomputed).all()
    assert (rows.k_bits.unique(), rows.k_lsb_bits.unique()) == ([8], [4])


def test_importance_of_tokens_is_that_before_the_layer(
    encoder: LoadedModel, sequences: Sequences
) -> None:
    trace = run_method(SpAtten(), encoder, sequences, workload="test").trace({})
    tokens = trace.tables["tokens"].to_pandas()
    assert tokens[tokens.layer == 0].importance.isna().all()
    row = tokens[(tokens.layer == 1) & (tokens.sequence == 1)].iloc[0]
    # 7 tokens, 4 heads: each of 28 queries hands out 1; what is missing was dropped
    assert row.importance.sum() == pytest.approx(28, rel=0.2)
    heads = trace.tables["attention"].to_pandas()
    assert heads[heads.alive].head_importance.notna().all()
    assert heads[~heads.alive].head_importance.isna().all()


@pytest.mark.model
def test_real_sentences_survive_the_defaults_better_than_random_pruning() -> None:
    loaded = load_encoder()
    tokens = tokenize(read_sentence_pairs(limit=40), loaded.tokenizer, 128)
    dense, spatten, random = (
        run_method(method, loaded, tokens, workload="sentences").embeddings
        for method in (Dense(), SpAtten(), RandomPruning())
    )
    kept, control = (accuracy(found, dense)["spearman"] for found in (spatten, random))
    assert kept > 0.85
    assert kept - control > 0.1
