"""What holds for every cascade method: budgets, order, recorded scores, parameters."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from algos.base import Method
from algos.harness import run_method
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace

CASCADE = [SpAtten, RandomPruning]
HARD = {"token_keep_ratio": 0.5, "head_keep_ratio": 0.6, "value_keep_ratio": 0.5}
Sequences = list[list[int]]


def trace_of(method: Method, encoder: LoadedModel, sequences: Sequences, **options: Any) -> Trace:
    return run_method(method, encoder, sequences, workload="test", **options).trace({"x": 1.0})


@pytest.mark.parametrize("ratio_of", ["input", "layer"])
@pytest.mark.parametrize("kind", CASCADE)
def test_budgets_are_met_and_nothing_returns(
    kind: type[Method], ratio_of: str, encoder: LoadedModel, sequences: Sequences
) -> None:
    method = kind(**HARD, ratio_of=ratio_of)
    trace = trace_of(method, encoder, sequences)
    tokens = trace.tables["tokens"].to_pandas()
    # average 0.5: end 1/3, start 2/3; of the input the counts of 12 tokens are these
    expected = {"input": [12, 8, 7, 6, 5, 4], "layer": [12, 8, 4, 2, 1, 1]}[ratio_of]
    assert tokens[tokens.sequence == 0].alive.tolist() == expected
    for _, rows in tokens.groupby("sequence"):
        kept = [set(ids) for ids in rows.token_ids]
        assert all(later <= earlier for earlier, later in pairwise(kept))
        assert all(list(ids) == sorted(ids) for ids in rows.token_ids)
    heads = trace.tables["attention"].to_pandas()
    # of 4 heads: ceil(0.3 * 6) = 2 layers whole, then 0.8, 0.666, 0.533, 0.4
    counts = {"input": [4, 4, 3, 2, 2, 1], "layer": [4, 4, 3, 2, 1, 1]}[ratio_of]
    for _, rows in heads.groupby("sequence"):
        alive = [set(layer["head"][layer.alive]) for _, layer in rows.groupby("layer")]
        assert [len(ids) for ids in alive] == counts
        assert all(later <= earlier for earlier, later in pairwise(alive))
    alive_rows = heads[heads.alive]
    assert (alive_rows["values"] == np.maximum(1, alive_rows["keys"] // 2)).all()


@pytest.mark.parametrize("kind", CASCADE)
def test_recorded_scores_select_what_was_kept(
    kind: type[Method], encoder: LoadedModel, sequences: Sequences
) -> None:
    trace = trace_of(kind(**HARD), encoder, sequences)
    tables = {name: trace.tables[name].to_pandas() for name in trace.tables}
    tokens = tables["tokens"].set_index(["sequence", "layer"])
    attention = tables["attention"].set_index(["sequence", "layer", "head"])
    assert set(tables["topk"].kind) == {"token", "head", "value"}
    for row in tables["topk"].itertuples():
        scores = np.asarray(row.scores, int).reshape(row.operations, row.n)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : row.k]
        kept = np.unique(order)
        if row.kind == "token":
            before = tokens.token_ids[row.sequence, row.layer]
            assert before[kept].tolist() == list(tokens.token_ids[row.sequence, row.layer + 1])
        elif row.kind == "head":
            before, after = (
                attention.loc[(row.sequence, layer)].query("alive").index.to_numpy()
                for layer in (row.layer, row.layer + 1)
            )
            assert before[kept].tolist() == after.tolist()
        else:
            head = attention.loc[(row.sequence, row.layer, row.head)]
            assert head.key_ids[kept].tolist() == list(head.value_ids)


@pytest.mark.parametrize("kind", CASCADE)
def test_no_operation_is_emitted_where_nothing_is_selected(
    kind: type[Method], encoder: LoadedModel, sequences: Sequences
) -> None:
    whole = kind(token_keep_ratio=1, head_keep_ratio=1, value_keep_ratio=1)
    assert trace_of(whole, encoder, sequences).rows("topk") == 0
    topk = trace_of(kind(**HARD), encoder, sequences).tables["topk"].to_pandas()
    assert (topk.k < topk.n).all()
    assert topk[topk.kind != "value"].layer.max() == 4  # nothing after the last of 6 layers


@pytest.mark.parametrize("kind", CASCADE)
def test_a_sequence_does_not_depend_on_its_neighbours(
    kind: type[Method], encoder: LoadedModel, sequences: Sequences
) -> None:
    whole = run_method(kind(**HARD), encoder, sequences, workload="test").embeddings
    part = run_method(kind(**HARD), encoder, sequences[:2], workload="test").embeddings
    # another batch size rounds sums otherwise, which can move a 12-bit code by one step
    np.testing.assert_allclose(part, whole[:2], atol=1e-3)


@pytest.mark.parametrize("kind", CASCADE)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token_keep_ratio": 0}, "token_keep_ratio must be greater than 0, not 0"),
        ({"head_keep_ratio": 1.5}, "head_keep_ratio must be less than or equal to 1, not 1.5"),
        (
            {"token_keep_ratio": 0.5, "token_keep_ratio_end": 0.7},
            r"token_keep_ratio_end must be at most the average \(0.5\), not 0.7",
        ),
        (
            {"head_keep_ratio": 0.9, "head_keep_ratio_end": 0.5},
            r"head_keep_ratio_end must be at least 0.8 \(start at most 1\), not 0.5",
        ),
    ],
)
def test_impossible_ratios_are_refused(
    kind: type[Method], values: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{kind.__name__} {message}$"):
        kind(**values)
