"""Cascade pruning in decoders: over layers and over steps, by hand and on models that run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from algos.base import AttentionOutcome, Batch, Decision, Precision
from algos.decoding import DecoderRun, Texts, run_decoder
from algos.dense import Dense
from algos.selection import keep_count, keep_ratios
from algos.token.cascade import CascadeMethod
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from sim.machines import MACHINES
from sim.run import simulate
from tests.algos.decoders import random_decoder, random_tokens
from workloads.attention import AttentionOutput, dense_attention
from workloads.capture import attached
from workloads.models import LoadedModel
from workloads.session import LayerInput
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

CASCADE = [SpAtten, RandomPruning]
WHOLE = {"token_keep_ratio": 1.0, "head_keep_ratio": 1.0, "value_keep_ratio": 1.0}
HARD = {"token_keep_ratio": 0.5, "head_keep_ratio": 0.6, "value_keep_ratio": 0.5}
FINE = {"msb_bits": 16, "lsb_bits": 0, "value_bits": 16, "query_bits": 16}
PROMPT, FOLLOWING, LAYERS = 20, 9, 6
SHAPE = ModelShape(
    name="hand", layers=3, heads=2, kv_heads=1, head_dim=1, hidden=2, intermediate=4, source="hand"
)
Ids = dict[tuple[int, int], set[int]]  # (step, layer) -> positions or heads


class Hand:
    """Drives a method layer by layer with attention probabilities made by hand."""

    def __init__(self, method: CascadeMethod, prompt: int, **shape: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shaped = replace(SHAPE, **shape)  # type: ignore[arg-type]
        given = Batch(shape=shaped, tokens=prompt, generators=(generator,), decodes=True)
        self.method, self.prompt, self.state = method, prompt, method.begin(given)

    def layer(
        self, step: int, layer: int, ids: list[int], rows: list[list[float]], *outputs: float
    ) -> Decision:
        """Let a layer of a step hand out attention: each head the same, a row a query."""
        empty, queries = torch.zeros(1, len(outputs), len(ids), 1), torch.tensor([ids])
        seen = AttentionStep(
            layer=layer,
            step=step,
            query=empty[:, :, -len(rows) :],
            key=empty,
            value=empty,
            scale=1.0,
            mask=None,
            query_ids=queries[:, -len(rows) :],
            key_ids=queries,
            tokens_dense=self.prompt + step,
        )
        output = torch.tensor(outputs).view(1, -1, 1, 1).expand(-1, -1, len(rows), -1)
        outcome = AttentionOutcome(
            output=output,
            probability=torch.tensor(rows).expand(1, len(outputs), -1, -1),
            precision=Precision(q_bits=12, k_bits=12, v_bits=12),
        )
        return self.method.after_layer(seen, outcome, self.state)


def kept(decision: Decision, ids: list[int]) -> list[int]:
    """Return the positions that a decision lets through."""
    if decision.kept_tokens is None:
        return ids
    return [ids[place] for place in decision.kept_tokens[0].tolist()]


def codes(decision: Decision) -> list[tuple[str, list[int], int]]:
    return [(s.kind, s.codes.flatten().tolist(), s.k) for s in decision.selections]


def test_three_steps_by_hand() -> None:
    """Ratios of the 3 layers: 1, 0.75, 0.25; 4 tokens of prompt; two heads of one K/V head."""
    method = SpAtten(**WHOLE | {"token_keep_ratio": 0.5, "token_keep_ratio_end": 0.25})
    hand, one = Hand(method, 4), (1.0, 1.0)

    prefill = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.5, 0], [0.5, 0, 0.25, 0.25]]
    first = hand.layer(0, 0, [0, 1, 2, 3], prefill, *one)
    assert first.token_importance.tolist() == [[4.5, 1.5, 1.5, 0.5]]
    # 3 of 4: the last token whatever it got, and of 1 and 2, which are equal, the lower one
    assert kept(first, [0, 1, 2, 3]) == [0, 1, 3]
    assert codes(first) == [("token", [4095, 1365, 1365], 2)]
    second = hand.layer(0, 1, [0, 1, 3], [[1, 0, 0], [0, 1, 0], [0.5, 0.25, 0.25]], *one)
    assert second.token_importance.tolist() == [[7.5, 4, 1]]
    assert kept(second, [0, 1, 3]) == [3]  # 1 of 4, and it is the last token: nothing to choose
    assert codes(second) == []
    last = hand.layer(0, 2, [3], [[1.0]], *one)
    assert (last.token_importance.tolist(), last.kept_tokens) == ([[3]], None)

    # 3 of 5: token 2 would be back if it were the best, 3 ties with 1 by all that it got so far
    # (by this step alone it would win)
    first = hand.layer(1, 0, [0, 1, 2, 3, 4], [[0, 0, 4.5, 0.5, 0]], *one)
    assert first.token_importance.tolist() == [[7.5, 4, 10.5, 4, 0]]
    assert kept(first, [0, 1, 2, 3, 4]) == [0, 1, 4]
    assert codes(first) == [("token", [4095, 2184, 2184], 2)]
    second = hand.layer(1, 1, [0, 1, 4], [[0.5, 0.25, 0.25]], *one)
    assert second.token_importance.tolist() == [[8.5, 4.5, 0.5]]
    # layer 2 holds token 3 alone, and that is gone before layer 1: 1 of 5 is the new token
    assert kept(second, [0, 1, 4]) == [4]
    assert hand.layer(1, 2, [4], [[1.0]], *one).token_importance.tolist() == [[2.5]]

    # 4 of 6 may enter layer 1, and so many are left there, the new one included: 2, 3 are gone
    first = hand.layer(2, 0, [0, 1, 2, 3, 4, 5], [[0, 0, 1, 1, 0, 0]], *one)
    assert kept(first, [0, 1, 2, 3, 4, 5]) == [0, 1, 4, 5]
    assert codes(first) == []
    # token 4, once the latest, competes now; layer 2 has it, but only 1 of 6 is kept there
    second = hand.layer(2, 1, [0, 1, 4, 5], [[0, 0, 1, 0]], *one)
    assert second.token_importance.tolist() == [[8.5, 4.5, 4.5, 0]]
    assert kept(second, [0, 1, 4, 5]) == [5]


def test_heads_add_up_over_steps_and_never_come_back() -> None:
    """4 heads, 4 layers; ratios 1, 1, 0.75, 0.5 of them."""
    method = SpAtten(**WHOLE | {"head_keep_ratio": 0.625, "head_keep_ratio_end": 0.5})
    hand = Hand(method, 1, layers=4, heads=4)
    assert hand.layer(0, 0, [0], [[1.0]], 1, -4, 2, 2).kept_heads is None
    decision = hand.layer(0, 1, [0], [[1.0]], 0, 0, 0, 0)
    assert decision.head_importance.tolist() == [[1, 4, 2, 2]]
    assert decision.kept_heads.tolist() == [[1, 2, 3]]
    decision = hand.layer(0, 2, [0], [[1.0]], 0, 0, 0)
    assert decision.kept_heads.tolist() == [[0, 1]]  # heads 1 and 2; 3 is equal and comes later
    hand.layer(0, 3, [0], [[1.0]], 0, 0)
    # head 0 puts out most from now on, and is where it was: in the first two layers
    assert hand.layer(1, 0, [0, 1], [[1.0, 0]], 9, 0, 0, 9).kept_heads is None
    decision = hand.layer(1, 1, [0, 1], [[1.0, 0]], 0, 0, 0, 0)
    assert decision.head_importance.tolist() == [[10, 4, 2, 11]]
    assert decision.kept_heads.tolist() == [[1, 2, 3]]
    assert codes(decision) == []  # as many as the last step left: there is nothing to choose
    assert hand.layer(1, 2, [0, 1], [[1.0, 0]], 0, 0, 0).kept_heads.tolist() == [[0, 1]]


def test_the_class_token_of_an_encoder_competes_and_so_does_its_last_token() -> None:
    method = SpAtten(**WHOLE | {"token_keep_ratio": 0.5})
    hand = Hand(method, 2)
    hand.state = method.begin(Batch(shape=SHAPE, tokens=2, generators=(torch.Generator(),)))
    assert kept(hand.layer(0, 0, [0, 1], [[1.0, 0], [1, 0]], 1, 1), [0, 1]) == [0]


def decode(
    method: Any, loaded: LoadedModel | None = None, rows: int = 2, prompt: int = PROMPT
) -> DecoderRun:
    tokens = random_tokens(rows, prompt + FOLLOWING)
    texts = [Texts(prompt=tokens[:, :prompt], following=tokens[:, prompt:])]
    return run_decoder(method, loaded or model(), texts, workload="t", record_scores=True)


def model(family: str = "llama") -> LoadedModel:
    return random_decoder(family, num_hidden_layers=LAYERS)


def tables_of(run: DecoderRun) -> dict[str, Any]:
    trace = run.trace({"x": 1.0})
    return {name: table.to_pandas() for name, table in trace.tables.items()}


def tokens_alive(tables: dict[str, Any], sequence: int) -> Ids:
    rows = tables["tokens"][tables["tokens"].sequence == sequence]
    return {(r.step, r.layer): set(r.token_ids.tolist()) for r in rows.itertuples()}


def heads_alive(tables: dict[str, Any], sequence: int) -> Ids:
    rows = tables["attention"][tables["attention"].sequence == sequence]
    groups = rows[rows.alive].groupby(["step", "layer"])["head"]
    return {key: set(heads) for key, heads in groups}


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("ratio_of", ["input", "layer"])
@pytest.mark.parametrize("kind", CASCADE)
def test_sets_nest_over_layers_and_steps_and_fill_their_counts(
    kind: type[CascadeMethod], ratio_of: str, family: str
) -> None:
    tables = tables_of(decode(kind(**HARD, ratio_of=ratio_of), model(family)))
    # half on average, a third at the end; 0.6 of the heads, 0.4 at the end
    of_tokens, of_heads = keep_ratios(LAYERS, 0.5, 1 / 3, 0.15), keep_ratios(LAYERS, 0.6, 0.4, 0.3)
    for sequence in (0, 1):
        tokens, heads = tokens_alive(tables, sequence), heads_alive(tables, sequence)
        assert set(tokens) == {(s, y) for s in range(FOLLOWING) for y in range(LAYERS)}
        for (step, layer), left in tokens.items():
            seen = PROMPT + step
            assert seen - 1 in left  # the latest token, whose output is the prediction
            if layer == 0:
                assert left == set(range(seen))
                assert heads[step, layer] == {0, 1, 2, 3}
                continue
            may, run = tokens[step, layer - 1], heads[step, layer - 1]
            wanted = keep_count(of_tokens[layer], seen if ratio_of == "input" else len(may))
            heads_wanted = keep_count(of_heads[layer], 4 if ratio_of == "input" else len(run))
            if step:
                may = may & (tokens[step - 1, layer] | {seen - 1})
                run = run & heads[step - 1, layer]
            assert left <= may
            assert len(left) == min(wanted, len(may))
            assert heads[step, layer] <= run
            assert len(heads[step, layer]) == min(heads_wanted, len(run))
            assert ratio_of == "layer" or wanted - len(left) <= 2  # the target is nearly met


@pytest.mark.parametrize("kind", CASCADE)
def test_rows_of_the_trace_say_what_is_left(kind: type[CascadeMethod]) -> None:
    tables = tables_of(decode(kind(**HARD)))
    attention, products = tables["attention"], tables["matmul"]
    tokens = {sequence: tokens_alive(tables, sequence) for sequence in (0, 1)}
    assert set(attention.kv_policy) == {"evict"}
    for row in attention.itertuples():
        left = tokens[row.sequence][row.step, row.layer]
        assert row.keys_dense == PROMPT + row.step
        assert row.queries_dense == (1 if row.step else PROMPT)
        if not row.alive:
            assert (row.queries, row.keys, row.values, row.values_fetched) == (0, 0, 0, 0)
            continue
        assert row.key_ids.tolist() == sorted(left)
        assert row.queries == (1 if row.step else len(left))
        assert row.values == keep_count(0.5, len(left))
        assert row.values <= row.values_fetched == len(row.value_ids)
        assert row.values == row.values_fetched or not row.step
        before = tokens[row.sequence].get((row.step - 1, row.layer))
        lost = 0 if before is None else len(before) + 1 - len(left)
        assert row.keys_evicted == lost
    assert attention.keys_evicted.sum() > 0
    alive = attention[attention.alive].groupby(["sequence", "step", "layer"])
    groups = alive["kv_head"].nunique()  # a K/V head lives while a query head of its group does
    heads, queries = alive["head"].nunique(), alive["queries"].first()
    assert set(groups) == {1, 2}  # and this case has one that died
    for row in products.itertuples():
        at = (row.sequence, row.step, row.layer)
        assert row.m == queries[at]
        if row.operator in ("key", "value"):
            assert row.n == 16 * groups[at]
        elif row.operator in ("query", "output"):
            assert (row.n if row.operator == "query" else row.k) == 16 * heads[at]


@pytest.mark.parametrize("kind", CASCADE)
def test_recorded_scores_select_what_was_kept(kind: type[CascadeMethod]) -> None:
    tables = tables_of(decode(kind(**HARD)))
    chosen = tables["topk"]
    assert (chosen.k < chosen.n).all()
    assert chosen[chosen.kind == "token"].step.nunique() > 1
    assert set(chosen[chosen.kind == "head"].step) == {0}  # their count is constant
    tokens = {sequence: tokens_alive(tables, sequence) for sequence in (0, 1)}
    for row in chosen[chosen.kind == "token"].itertuples():
        ids, latest = tokens[row.sequence], PROMPT + row.step - 1
        may, left = ids[row.step, row.layer], ids[row.step, row.layer + 1]
        if row.step:
            may = may & ids[row.step - 1, row.layer + 1]
        free = np.array(sorted(may - {latest}))
        assert (row.n, row.k) == (len(free), len(left) - 1)
        best = np.argsort(-np.asarray(row.scores, int), kind="stable")[: row.k]
        assert set(free[best].tolist()) == left - {latest}
    heads = tables["attention"].set_index(["sequence", "step", "layer", "head"])
    for row in chosen[chosen.kind == "value"].itertuples():
        head = heads.loc[(row.sequence, row.step, row.layer, row.head)]
        scores = np.asarray(row.scores, int).reshape(row.operations, row.n)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : row.k]
        assert head.key_ids[np.unique(best)].tolist() == head.value_ids.tolist()


class Masked:
    """Every token runs in every layer; keys and heads that a trace calls dropped are masked."""

    def __init__(self, tokens: Ids, heads: Ids) -> None:
        self._tokens, self._heads = tokens, heads
        self._cache: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        return entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        key, value, at = step.key, step.value, (step.step, step.layer)
        if step.step:
            old = self._cache[step.layer]
            key, value = torch.cat((old[0], key), 2), torch.cat((old[1], value), 2)
        self._cache[step.layer] = key, value
        places = torch.arange(key.shape[2])
        visible = places <= step.query_ids[0, :, None]
        visible = visible & torch.isin(places, torch.tensor(sorted(self._tokens[at])))
        mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
        result = dense_attention(replace(step, key=key, value=value, mask=mask[None, None]))
        runs = torch.isin(torch.arange(4), torch.tensor(sorted(self._heads[at])))
        return replace(result, output=result.output * runs[:, None, None])


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_the_numbers_are_those_of_a_model_whose_attention_is_masked_so(family: str) -> None:
    loaded = model(family)
    run = decode(SpAtten(**HARD | {"value_keep_ratio": 1.0}, **FINE), loaded)
    tables, tokens = tables_of(run), random_tokens(2, PROMPT + FOLLOWING)
    for sequence, text in enumerate(tokens):
        handler = Masked(tokens_alive(tables, sequence), heads_alive(tables, sequence))
        nats = []
        with torch.inference_mode(), attached(loaded.model, handler) as session:
            for end in range(PROMPT, PROMPT + FOLLOWING):
                start = 0 if end == PROMPT else end - 1
                if start:
                    session.resume(start)
                out = loaded.model(
                    input_ids=text[None, start:end],
                    position_ids=torch.arange(start, end)[None],
                    use_cache=False,
                )
                nats.append(-out.logits[0, -1].log_softmax(-1)[text[end]].item())
        np.testing.assert_allclose(run.nats[0][sequence], nats, atol=0.01)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_a_whole_budget_in_many_bits_is_the_dense_decoder(family: str) -> None:
    loaded = model(family)
    whole = decode(SpAtten(**WHOLE, **FINE), loaded, rows=1)
    dense = decode(Dense(bits=16), loaded, rows=1)
    np.testing.assert_array_equal(whole.nats[0], dense.nats[0])
    assert tables_of(whole)["topk"].empty


@pytest.mark.parametrize(
    "change",
    [{"token_keep_ratio": 0.5}, {"head_keep_ratio": 0.6}, {"value_keep_ratio": 0.3}],
    ids=lambda change: next(iter(change)),
)
def test_every_saving_changes_what_is_decoded(change: dict[str, float]) -> None:
    whole, less = decode(SpAtten(**WHOLE)), decode(SpAtten(**WHOLE | change))
    assert (abs(less.nats[0] - whole.nats[0]).max(0) > 1e-3).all()  # in every step


def test_the_control_has_the_budget_of_spatten() -> None:
    first, second = (tables_of(decode(kind(**HARD))) for kind in CASCADE)
    for table, column in (("tokens", "alive"), ("attention", "values"), ("matmul", "m")):
        ours, theirs = (
            tables[table].groupby("step")[column].sum().to_numpy() for tables in (first, second)
        )
        assert ours[0] == theirs[0]
        # later a layer may have lost more than it had to
        np.testing.assert_allclose(ours, theirs, rtol=0.1)
        assert abs(ours.sum() - theirs.sum()) < 0.03 * ours.sum()


def test_random_rows_are_not_spent_on_what_a_query_cannot_see() -> None:
    method = RandomPruning(**WHOLE | {"value_keep_ratio": 0.5})
    hand = Hand(method, 6)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, 6, 1, generator=generator)
    mask = torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)[None, None]
    ids = torch.arange(6)[None]
    step = AttentionStep(
        layer=0,
        step=0,
        query=x,
        key=x,
        value=x,
        scale=1.0,
        mask=mask,
        query_ids=ids,
        key_ids=ids,
        tokens_dense=6,
    )
    used = method.attend(step, hand.state).values_used
    assert used is not None
    seen = used & (mask == 0)
    assert seen.sum(3).tolist() == [[[1, 2, 3, 3, 3, 3]] * 2]


@pytest.mark.parametrize("kind", CASCADE)
def test_a_prompt_of_one_token_grows(kind: type[CascadeMethod]) -> None:
    tables = tables_of(decode(kind(**HARD), prompt=1))
    tokens = tokens_alive(tables, 0)
    assert [len(tokens[0, layer]) for layer in range(LAYERS)] == [1] * LAYERS
    # of 9 tokens the first two layers keep all and two thirds
    assert [len(tokens[8, layer]) for layer in range(2)] == [9, 6]
    assert all(step in tokens[step, layer] for step, layer in tokens)


def test_with_even_attention_the_latest_tokens_leave_first() -> None:
    """The earlier a token, the more queries saw it; heads are equal, and the first ones stay."""
    loaded = model()
    for parameter in loaded.model.parameters():
        parameter.data.zero_()
    tables = tables_of(decode(SpAtten(**HARD), loaded))
    tokens = tokens_alive(tables, 0)
    gone: set[int] = set()
    for (step, layer), left in tokens.items():
        may = tokens[step, layer - 1] if layer else left
        if step:
            may = may & (tokens[step - 1, layer] | {PROMPT + step - 1})
        if may - left:
            assert min(may - left) > max(left - {PROMPT + step - 1})
            gone.add(step)
    assert len(gone) > 2
    for (_, layer), heads in heads_alive(tables, 0).items():
        assert sorted(heads) == [*range(len(heads))], layer


def test_texts_do_not_depend_on_their_neighbours() -> None:
    both = decode(SpAtten(**HARD))
    tokens = random_tokens(2, PROMPT + FOLLOWING)[1:]
    alone = run_decoder(
        SpAtten(**HARD),
        model(),
        [Texts(prompt=tokens[:, :PROMPT], following=tokens[:, PROMPT:])],
        workload="t",
    )
    np.testing.assert_array_equal(both.nats[0][1:], alone.nats[0])


@pytest.mark.parametrize("machine", ["spatten", "dense"])
def test_machines_run_the_trace(machine: str) -> None:
    traces = [decode(method).trace({"x": 1.0}) for method in (Dense(), SpAtten(**HARD))]
    dense, pruned = (simulate(trace, MACHINES[machine](), 0).row for trace in traces)
    assert pruned["multiplications"] <= dense["multiplications"]
    fewer = pruned["dram_transferred_bytes"] < dense["dram_transferred_bytes"]
    assert fewer == (machine == "spatten")
