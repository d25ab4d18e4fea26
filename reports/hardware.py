"""What `prunesim rtl` does: generate, verify, simulate and synthesise blocks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reports.console import Phases
from rtl.build import Outcome, description, simulate, to_verilog
from rtl.registry import BLOCKS, Block, find_block
from rtl.synth import synthesise_asic, synthesise_fpga
from workloads.config import Config, parse_settings
from workloads.errors import InputError


def choose(name: str, settings: list[str]) -> tuple[Block, Config]:
    """Return a block and its configuration.

    Raises:
        InputError: no such block or field, or an impossible value.
    """
    block = find_block(name)
    return block, block.make_config(parse_settings(settings))


def generate(name: str, settings: list[str], out: Path, visible: bool) -> dict[str, Any]:
    """Write a block's Verilog and, beside it, a JSON of configuration, ports and latency.

    Returns:
        What the JSON holds, with `verilog` and `json`, the files.

    Raises:
        InputError: as `choose`, or the file is not named as Verilog.
    """
    block, config = choose(name, settings)
    if out.suffix != ".v":
        raise InputError(f"out must end in .v, not {out.name!r}")
    component = block.make(config)
    with Phases(visible) as phase, phase(f"write {out}"):
        about = description(block, config, component)
        text = to_verilog(component, block.name)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
        beside = out.with_suffix(".json")
        beside.write_text(json.dumps(about, indent=2) + "\n")
    return {"verilog": str(out), "json": str(beside)} | about


def verify(name: str | None, settings: list[str], seed: int, visible: bool) -> list[dict[str, Any]]:
    """Run the benches of one configuration, or of every block at all its sizes.

    Returns:
        One row for each test: block, config, test, passed, seconds, message.
    """
    runs = (
        [choose(name, settings)]
        if name is not None
        else [(block, block.make_config(size)) for block in BLOCKS.values() for size in block.sizes]
    )
    rows = []
    with Phases(visible) as phase:
        for block, config in runs:
            with phase(f"{block.name} {short(config)}"), TemporaryDirectory() as folder:
                outcomes = simulate(block, config, Path(folder), seed=seed)
            rows += [_row(block, config, outcome) for outcome in outcomes]
    return rows


def simulate_block(
    name: str, settings: list[str], out: Path, seed: int, vcd: bool, visible: bool
) -> dict[str, Any]:
    """Run a block's bench and keep what it leaves: Verilog, logs and, if wanted, a VCD."""
    block, config = choose(name, settings)
    with Phases(visible) as phase, phase(f"{block.name} {short(config)}"):
        outcomes = simulate(block, config, out, seed=seed, waves=vcd)
    return {
        "folder": str(out),
        "vcd": str(out / "dump.vcd") if vcd else None,
        "tests": [_row(block, config, outcome) for outcome in outcomes],
    }


def synthesise(name: str, settings: list[str], visible: bool) -> dict[str, Any]:
    """Return a block's UltraScale+ resources, gate equivalents and logic depth."""
    block, config = choose(name, settings)
    component = block.make(config)
    with Phases(visible) as phase:
        with phase(f"{block.name}: gates"):
            asic = synthesise_asic(component, block.name)
        with phase(f"{block.name}: UltraScale+"):
            fpga = synthesise_fpga(block.make(config), block.name)
    return {
        "block": block.name,
        "config": config.model_dump(),
        "fpga": asdict(fpga),
        "asic": asdict(asic),
    }


def short(config: Config) -> str:
    """Return a configuration in one line."""
    return " ".join(f"{name}={value}" for name, value in config.model_dump().items())


def _row(block: Block, config: Config, outcome: Outcome) -> dict[str, Any]:
    return {"block": block.name, "config": config.model_dump()} | asdict(outcome)
