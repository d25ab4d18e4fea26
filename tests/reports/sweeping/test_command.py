"""`prunesim sweep`: exit codes, one sentence for every mistake, and quick answers."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.sweeping import command as sweeping
from sim.sweep.store import Store
from sim.sweep.sweep import Outcome
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import write_trace

SHAPE = ModelShape(
    name="one",
    layers=1,
    heads=1,
    kv_heads=1,
    head_dim=64,
    hidden=64,
    intermediate=128,
    source="test",
)
LANES = '"machine.value_topk.lanes" = '


@pytest.fixture
def sweep_file(tmp_path):
    """Return a function that writes a sweep file over a small trace."""
    write_trace(shape_trace(SHAPE, 4), tmp_path / "x.trace")

    def write(axes, rest=""):
        path = tmp_path / "mine.toml"
        path.write_text(f'workload = "{tmp_path}/x.trace"\n[axes]\n{axes}\n{rest}')
        return path

    return write


def invoke(path, *options):
    arguments = ["sweep", str(path), "--out", str(path.with_suffix("")), "--no-report"]
    return CliRunner().invoke(app, [*arguments, *options])


def said(path, *options):
    """Return the one sentence of a command that must fail with exit code 2."""
    result = invoke(path, *options)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("prunesim: ").strip()


def test_a_sweep_says_what_it_did_and_resume_does_the_rest(sweep_file, tmp_path):
    path = sweep_file(LANES + "[1, 3, 4]")
    result = invoke(path, "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "3 points: 2 done, 1 failed; 2 of them run now",
        f"folder: {tmp_path / 'mine'}",
    ]
    assert said(path).endswith(
        "mine must be new or empty, it holds a sweep: --resume goes on with it"
    )
    path.write_text(path.read_text().replace("[1, 3, 4]", "[1, 2, 3, 4]"))
    result = invoke(path, "--jobs", "1", "--resume", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "folder": str(tmp_path / "mine"),
        "report": None,
        "ran": 1,
        "done": 3,
        "failed": 1,
        "pruned": 0,
    }


def test_a_sweep_in_which_all_points_fail_has_failed(sweep_file):
    path = sweep_file('machine = ["accllm-u280"]', '[objectives]\narea_mm2 = "min"')
    assert said(path, "--jobs", "1") == (
        "a sweep must have a point that runs, none did: "
        "area_mm2 must be a finite number to be judged, on accllm-u280 it is missing"
    )
    assert said(sweep_file(LANES + "[3]"), "--resume") == (
        "a sweep must have a point that runs, none did: TopK lanes must be a power of 2, not 3"
    )


@pytest.mark.parametrize(
    ("axes", "options", "sentence"),
    [
        ("machine = [", (), "must be TOML"),
        ("machin = ['dense']", (), "did you mean 'machine'?"),
        ("machine = ['dens']", (), "did you mean 'dense'?"),
        ("'machine.clock' = [1]", (), "did you mean 'machine.clock_hz'?"),
        ("machine = []", (), "axis machine: values of an axis must be at least 1, there are none"),
        (
            "'machine.clock_hz' = {range = [1, 1000001], count = 1000000}\nseed = [1, 2]",
            (),
            "--yes",
        ),
        (
            LANES + "[1]",
            ("--jobs", "1", "--dask", "tcp://x:1"),
            "jobs must be left out with --dask",
        ),
        (LANES + "[1]", ("--dask", "x"), "--dask must name a running scheduler"),
    ],
)
def test_mistakes_are_told_before_anything_runs(sweep_file, axes, options, sentence):
    assert sentence in said(sweep_file(axes), *options)


def test_no_file_is_told(tmp_path):
    assert said(tmp_path / "no.toml").endswith(
        "no.toml must be readable: No such file or directory"
    )


def test_an_output_that_is_no_folder_is_told(sweep_file, tmp_path):
    (tmp_path / "mine").touch()
    for options in ((), ("--dask", "tcp://127.0.0.1:1")):
        assert "mine must be a folder to write in" in said(sweep_file(LANES + "[1]"), *options)


def test_a_folder_in_use_is_told(sweep_file, tmp_path):
    (tmp_path / "mine").mkdir()
    with Store(tmp_path / "mine"):
        told = said(sweep_file(LANES + "[1]"), "--resume")
    assert told.endswith("mine must be used by one sweep at a time, another one is running in it")


def test_what_was_left_out_is_told_too(tmp_path):
    done = Outcome(tmp_path, {"done": 1000, "pruned": 20}, 1020)
    assert sweeping.told(done, tmp_path / "report.html") == [
        "1,020 points: 1,000 done, 20 left out by their bounds",
        f"report: {tmp_path / 'report.html'}   folder: {tmp_path}",
    ]


def test_a_wrong_file_is_told_without_loading_machines_or_methods(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("[axes]\nmachin = [1]")
    script = (
        "import sys\n"
        "from reports.cli import main\n"
        "try: main(['sweep', sys.argv[1]])\n"
        "except SystemExit as error:\n"
        "    heavy = {'numba', 'pandas', 'pyarrow', 'torch', 'numpy'} & set(sys.modules)\n"
        "    print(error.code, *sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"


class Shown:
    """Stands for `Phases`: keeps what it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, name):
        self.told.append(name)
        return self

    def __enter__(self):
        return lambda done, of: self.told.append(done)

    def __exit__(self, *error):
        self.told.append("end")


def test_progress_is_drawn_a_few_times_a_second_and_at_the_end(monkeypatch):
    now = iter(i / 100 for i in range(1000, 5000))
    monkeypatch.setattr(sweeping.time, "monotonic", lambda: next(now))
    shown = Shown()
    with sweeping._Progress(shown) as progress:
        for i in range(1, 3):
            progress.update("traces", i, 2)
        for i in range(1, 101):
            progress.update("points", i, 100)
    drawn = [x for x in shown.told if isinstance(x, int)]
    assert 8 <= len(drawn) <= 14
    assert drawn[-1] == 100
    assert [x for x in shown.told if isinstance(x, str)] == ["traces", "end", "points", "end"]
    assert progress.done == 100
