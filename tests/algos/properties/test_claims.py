"""Every method runs on what it claims to run on, and says so where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from algos import METHODS
from algos.prompt.base import PromptMethod
from algos.static.base import StaticMethod
from algos.visual.base import VisualMethod
from reports.job import Job, prepare
from tests.algos.properties.runs import make, run, run_static
from workloads.errors import InputError
from workloads.tasks import WORKLOADS

BEFORE = (VisualMethod, PromptMethod)  # they choose what a model reads, and run before it
CASES = [
    (name, kind)
    for name, method in METHODS.items()
    if not issubclass(method, BEFORE)
    for kind in method.workloads
]
NAMED = {w.kind: name for name, w in WORKLOADS.items() if w.kind != "shape"}
UNCLAIMED = [
    (name, kind)
    for name, method in METHODS.items()
    for kind in NAMED
    if kind not in method.workloads
]
WINDOWS: dict[str, int] = {
    "recent": 2,
    "sink": 1,
    "sinks": 1,
    "observed": 2,
    "window": 2,
    "page": 2,
    "frame": 2,
    "block_queries": 2,
    "block_keys": 2,
}  # such as fit a short prompt


def small(name: str) -> Any:
    """Make a method whose windows and budget fit a prompt of 23 tokens."""
    fields = METHODS[name].model_fields
    given: dict[str, Any] = {k: v for k, v in WINDOWS.items() if k in fields}
    if METHODS[name].family in ("kv", "attention") or "recent" in given:
        given["keep_ratio"] = 0.8
    return make(name, **given)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_method_runs_on_what_it_claims(name: str, kind: str) -> None:
    static = issubclass(METHODS[name], StaticMethod)
    trace = run_static(name, kind) if static else run(small(name), kind)
    assert trace.header.method == name
    assert trace.rows("attention") > 0 or METHODS[name].family == "layer"


def job(method: str, workload: str) -> Job:
    return Job(
        workload=workload,
        method=method,
        machine=None,
        settings=[],
        out=Path("unused"),
        sentences=None,
        limit=None,
        seed=0,
        report=False,
    )


@pytest.mark.parametrize(("name", "kind"), UNCLAIMED)
def test_what_a_method_does_not_claim_is_refused_in_one_sentence(name: str, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(job(name, NAMED[kind]))
    runs_on = " and ".join(METHODS[name].workloads)
    assert str(caught.value) == (
        f"method {name} must run on {kind} to read {NAMED[kind]}, it runs on {runs_on}"
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_claim_is_accepted(name: str) -> None:
    for kind in set(METHODS[name].workloads) & set(NAMED):
        assert prepare(job(name, NAMED[kind])).methods[-1].name == name


@pytest.mark.parametrize("name", METHODS)
def test_a_shape_is_for_methods_whose_ratios_are_known(name: str) -> None:
    if name in ("dense", "random", "spatten"):
        assert prepare(job(name, "bert-base-384")).methods[-1].name == name
        return
    match = f"^method {name} needs a real model, bert-base-384 is only a shape$"
    with pytest.raises(InputError, match=match):
        prepare(job(name, "bert-base-384"))
