"""What holds for every method of the registry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import algos
from algos import METHODS
from algos.base import TRACE_KINDS, Method, Parity, WorkloadKind
from algos.harness import run_method
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace, read_trace, write_trace

Sequences = list[list[int]]
ON_SENTENCES = [name for name, kind in METHODS.items() if "sentences" in kind.workloads]


def trace_of(method: Method, encoder: LoadedModel, sequences: Sequences, **options: Any) -> Trace:
    return run_method(method, encoder, sequences, workload="test", **options).trace({"x": 1.0})


def test_every_method_class_is_in_the_registry() -> None:
    found = set()
    for module in pkgutil.walk_packages(algos.__path__, "algos."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {
            kind
            for kind in members
            if inspect.isclass(kind) and issubclass(kind, Method) and hasattr(kind, "name")
        }
    assert found == set(METHODS.values())
    assert all(METHODS[name].name == name for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_documented(name: str) -> None:
    fields = METHODS[name].model_fields
    assert [field for field in fields if not fields[field].description] == []
    for text in (METHODS[name].family, METHODS[name].signal, METHODS[name].paper):
        assert text


@pytest.mark.parametrize("name", METHODS)
def test_every_method_states_what_a_list_shows_of_it(name: str) -> None:
    method = METHODS[name]
    for text in (method.granularity, method.training, method.__doc__):
        assert text
    assert method.trace_kind in TRACE_KINDS
    assert method.parity in get_args(Parity)
    assert method.workloads
    assert set(method.workloads) <= set(get_args(WorkloadKind))


def test_importing_methods_does_not_import_torch() -> None:
    code = "import sys, algos, algos.harness; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ON_SENTENCES)
def test_a_trace_round_trips_and_depends_on_nothing_but_the_seed(
    name: str, encoder: LoadedModel, sequences: Sequences, tmp_path: Path
) -> None:
    trace = trace_of(METHODS[name](), encoder, sequences, seed=5)
    write_trace(trace, tmp_path / "a.trace")
    back = read_trace(tmp_path / "a.trace")
    again = trace_of(METHODS[name](), encoder, sequences, seed=5)
    assert back.header == trace.header
    for table in trace.tables:
        assert back.tables[table].equals(trace.tables[table])
        assert again.tables[table].equals(trace.tables[table])


def test_another_seed_prunes_otherwise(encoder: LoadedModel, sequences: Sequences) -> None:
    first, other = (
        run_method(
            RandomPruning(token_keep_ratio=0.5), encoder, sequences, workload="test", seed=seed
        )
        for seed in (1, 2)
    )
    assert not np.allclose(first.embeddings, other.embeddings)


def test_scores_can_be_left_out(encoder: LoadedModel, sequences: Sequences) -> None:
    trace = trace_of(SpAtten(), encoder, sequences, record_scores=False)
    assert trace.rows("topk") > 0
    assert not trace.ragged("topk", "scores").given.any()


@pytest.mark.parametrize("name", ON_SENTENCES)
def test_weights_that_are_not_numbers_are_refused(
    name: str, encoder: LoadedModel, sequences: Sequences
) -> None:
    with torch.no_grad():
        encoder.model.encoder.layer[2].attention.self.value.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="must be finite"):
        run_method(METHODS[name](), encoder, sequences, workload="test")
