"""Random pruning: uniform, seeded, and as hungry as SpAtten."""

from __future__ import annotations

import torch

from algos.harness import run_method
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from workloads.models import LoadedModel

Sequences = list[list[int]]


def test_it_has_the_budgets_of_spatten(encoder: LoadedModel, sequences: Sequences) -> None:
    ratios = {"token_keep_ratio": 0.6, "head_keep_ratio": 0.7, "value_keep_ratio": 0.4}
    first, second = (
        run_method(kind(**ratios), encoder, sequences, workload="test").trace({})
        for kind in (SpAtten, RandomPruning)
    )
    for table, column in (
        ("tokens", "alive"),
        ("matmul", "n"),
        ("attention", "keys"),
        ("attention", "values"),
    ):
        total = [int(trace.array(table, column).sum()) for trace in (first, second)]
        assert total[0] == total[1]


def test_every_token_is_kept_equally_often(encoder: LoadedModel) -> None:
    sequences = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]] * 300
    run = run_method(RandomPruning(token_keep_ratio=0.5), encoder, sequences, workload="test")
    tokens = run.trace({}).tables["tokens"].to_pandas()
    last = tokens[tokens.layer == 5].token_ids.explode().astype(int)
    counts = torch.bincount(torch.tensor(last.to_numpy()), minlength=10)
    assert counts.sum() == 900  # 3 of 10 tokens in each
    assert 60 <= counts.min() <= counts.max() <= 120  # 90 each, within 4 standard deviations
