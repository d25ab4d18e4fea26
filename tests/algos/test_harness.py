"""Running a method: order, progress, rows of the trace, and what a user can get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algos.dense import Dense
from algos.harness import run_method
from workloads.errors import InputError
from workloads.models import LoadedModel, mean_pool

Sequences = list[list[int]]


def test_dense_float_is_the_model_itself(encoder: LoadedModel, sequences: Sequences) -> None:
    run = run_method(Dense(bits=32), encoder, sequences, workload="test")
    with torch.no_grad():
        expected = [
            mean_pool(encoder.model(input_ids=torch.tensor([ids])).last_hidden_state)[0].numpy()
            for ids in sequences
        ]
    np.testing.assert_allclose(run.embeddings, np.stack(expected), atol=1e-5)
    assert run.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(run.embeddings, axis=1), 1, atol=1e-6)


def test_progress_counts_sequences(encoder: LoadedModel, sequences: Sequences) -> None:
    calls: list[tuple[int, int]] = []
    run_method(
        Dense(), encoder, sequences, workload="test", progress=lambda *done: calls.append(done)
    )
    assert calls == [(1, 9), (4, 9), (5, 9), (8, 9), (9, 9)]  # shortest first


def test_large_groups_are_split(encoder: LoadedModel) -> None:
    calls: list[int] = []
    run_method(
        Dense(), encoder, [[1, 2]] * 70, workload="t", progress=lambda done, _: calls.append(done)
    )
    assert calls == [64, 70]


def test_the_header_tells_what_ran(encoder: LoadedModel, sequences: Sequences) -> None:
    header = run_method(Dense(), encoder, sequences, workload="w", seed=7).trace({"a": 0.5}).header
    assert (header.workload, header.method, header.parameters) == ("w", "dense", {"bits": 12})
    assert (header.seed, header.accuracy, header.synthetic) == (7, {"a": 0.5}, False)
    assert header.model == encoder.shape
    assert "float32" in header.notes


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "the workload must have at least one sequence, it has none"),
        ([[1], []], "sequence 1 must have at least one token, it has none"),
        ([[1] * 41], "sequence 0 must have at most 40 tokens, not 41"),
    ],
)
def test_unusable_sequences_are_refused(bad: Sequences, message: str, encoder: LoadedModel) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        run_method(Dense(), encoder, bad, workload="test")


def test_a_negative_seed_is_refused(encoder: LoadedModel) -> None:
    with pytest.raises(InputError, match=r"^seed must be at least 0, not -1$"):
        run_method(Dense(), encoder, [[1]], workload="test", seed=-1)
