"""Traces for sweeps: what decides them, and that a worker anywhere makes the same."""

import os
import pickle
import shutil

import pytest

from reports.sweeping.traces import ModelTraces
from sim.sweep import Space
from sim.sweep.point import point_of
from sim.sweep.traces import trace_key
from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import read_trace, write_trace

SHAPE = ModelShape(
    name="one",
    layers=2,
    heads=1,
    kv_heads=1,
    head_dim=64,
    hidden=64,
    intermediate=128,
    source="test",
)
DRAWN = "bert-base-384"  # a shape without weights


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "x.trace"
    write_trace(shape_trace(SHAPE, 4, sequences=2, generate=2), folder)
    return folder


def order(**fields):
    """Return the order of the only point of a space."""
    space = Space.of(fields)
    (assignment,) = space.assignments()
    return point_of(space, 0, assignment).order


def test_a_trace_is_known_by_its_content_not_its_folder(path, tmp_path):
    copy = shutil.copytree(path, tmp_path / "other" / "x.trace")
    first = ModelTraces().describe(order(workload=str(path)))
    assert ModelTraces().describe(order(workload=str(copy))) == first
    file = copy / "trace.json"
    file.write_text(file.read_text() + " ")
    assert ModelTraces().describe(order(workload=str(copy))) != first


def test_a_part_of_a_trace_is_another_trace(path):
    maker = ModelTraces()
    whole = order(workload=str(path))
    some = order(workload=str(path), inputs=1, part="decode")
    assert trace_key(maker.describe(whole)) != trace_key(maker.describe(some))
    assert maker.make(whole).tables["attention"].equals(read_trace(path).tables["attention"])
    attention = maker.make(some).tables["attention"]
    assert set(attention["sequence"].to_pylist()) == {0}
    assert set(attention["step"].to_pylist()) == {1, 2}


def test_a_relative_path_means_the_same_in_a_worker(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    maker = pickle.loads(pickle.dumps(ModelTraces()))
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert maker.make(order(workload="./x.trace")).header.workload == "one-4"


def test_a_trace_that_is_not_there_is_told(tmp_path):
    missing = str(tmp_path / "no.trace")
    with pytest.raises(InputError, match=r"no.trace must be a trace folder or a .csv file, it do"):
        ModelTraces().describe(order(workload=missing))


def test_what_a_method_is_not_told_to_do_decides_a_trace_too():
    maker = ModelTraces()
    bare = maker.describe(order(workload=DRAWN, method="spatten"))
    assert bare["parameters"]["token_keep_ratio"] > 0
    ratio = bare["parameters"]["token_keep_ratio"]
    said = order(workload=DRAWN, method="spatten", set={"method.token_keep_ratio": ratio})
    assert maker.describe(said) == bare
    other = order(workload=DRAWN, method="spatten", seed=1)
    assert maker.describe(other) != bare


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"workload": DRAWN}, "method must be given for bert-base-384, there is none"),
        ({"workload": DRAWN, "method": "h2o"}, "needs a real model"),
        ({"workload": "minilm-sentences", "method": "h2o"}, "to read minilm-sentences"),
        (
            {"workload": DRAWN, "method": "spatten", "set": {"method.token_keep_ratio": 2}},
            "token_keep_ratio must be less than or equal to 1, not 2",
        ),
    ],
)
def test_an_order_that_cannot_be_filled_is_told(fields, sentence):
    with pytest.raises(InputError, match=sentence):
        ModelTraces().describe(order(**fields))


def test_a_shape_is_drawn_at_the_ratios_of_a_method():
    trace = ModelTraces().make(order(workload=DRAWN, method="spatten"))
    assert trace.header.method == "spatten"


@pytest.mark.model
def test_a_method_runs_on_a_real_model():
    fields = {"workload": "minilm-sentences", "method": "spatten", "limit": 2, "inputs": 1}
    trace = ModelTraces().make(order(**fields))
    assert "spearman" in trace.header.accuracy
    assert set(trace.tables["attention"]["sequence"].to_pylist()) == {0}
