"""Area of a machine's logic by the synthesis of our own blocks, beside the operators' estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from reports.blocks import RENEW, SYNTHESISED, read_record, stale_blocks
from reports.run_data import RunData
from rtl.registry import BLOCKS
from sim.energy.scaling import scale_area

NAND2_45NM_UM2 = 0.798
"""NAND2 x1 of FreePDK45 (stdcells.lef), the library that gate equivalents are counted in."""
NAND2_40NM_TALL_UM2 = 0.9576
"""NAND2 of a 12-track library of TSMC 40G (synthesis notes of cv32e40px): how far cells differ."""


@dataclass(frozen=True)
class Use:
    """One block in a machine, and the rule that takes it from its recorded size to this one."""

    block: str
    of: str  # field of the machine that the block is; a machine without it has no such block
    same: Mapping[str, str] = field(default_factory=dict)  # block's field: machine's, must be equal
    per: tuple[str, str] | None = None  # block's field, machine's: gates grow in proportion
    lacks: str = ""  # what the rule leaves out


@dataclass(frozen=True)
class Part:
    """Components of the area table, and the blocks that do the same work."""

    logic: tuple[str, ...]  # what the blocks' gates compare with
    memories: tuple[str, ...]  # what the blocks hold in memory bits
    uses: tuple[Use, ...]
    differs: str = ""  # what the blocks have and the operators have not


def _array(block: str, lacks: str) -> Use:
    same = {"width_bits": f"{block}.width_bits"}
    return Use(block, block, same, ("multipliers", f"{block}.multipliers"), lacks)


def _engine(name: str) -> Use:
    same = {key: f"{name}.{key}" for key in ("lanes", "depth", "width_bits")}
    return Use("topk", name, same)


PARTS = (
    Part(
        ("multipliers", "adders", "pipeline registers"),
        (),
        (
            _array("query_key", "multiplexers for several scores a line"),
            _array("prob_value", "adders for several rows a line"),
        ),
    ),
    Part(
        ("softmax",),
        ("softmax FIFO",),
        (
            Use(
                "softmax",
                "softmax",
                {key: f"softmax.{key}" for key in ("lanes", "fifo_rows", "prob_bits")},
            ),
        ),
        "RTL: fixed point, tables; operators: fp32 units",
    ),
    Part(
        ("top-k",),
        ("top-k FIFOs",),
        (_engine("value_topk"), _engine("cascade_topk")),
        "RTL: also registers, prefix sums, control",
    ),
    Part(
        ("crossbars",),
        ("address FIFOs", "data FIFOs"),
        (Use("fetcher", "fetch"),),
        "RTL: also registers of rows, control",
    ),
    Part(
        (),
        ("decision FIFO",),
        (
            Use(
                "requant",
                "requant",
                {
                    "lanes": "softmax.lanes",
                    "fifo_rows": "requant.fifo_rows",
                    "width_bits": "width_bits",
                },
            ),
        ),
    ),
    Part(
        (),
        ("K SRAM", "V SRAM"),
        (Use("line_buffer", "key_buffer"), Use("line_buffer", "value_buffer")),
    ),
    Part((), (), (Use("converter", "requant"),)),
    Part((), (), (Use("importance", "cascade_topk"),)),
    Part((), (), (Use("head_importance", "cascade_topk"),)),
)
"""Which of our blocks stand for which components. Without `same` or `per` nothing scales a block:
it is shown once, at its recorded size."""

AREA_COLUMNS = {
    "machine": "machine",
    "component": "parts of the area table whose logic the blocks are; empty: none",
    "memories": "parts of the area table that the blocks' memories are; empty: none",
    "estimate_mm2": "area of these parts' logic by operators, as in the area table",
    "blocks": "our blocks, by their names in `prunesim list blocks`; empty: no RTL",
    "gate_equivalents": "NAND2 equivalents by synthesis, flip-flops included, memories not",
    "area_mm2": "gate_equivalents x nand2_um2, nothing placed",
    "ratio": "area_mm2 / estimate_mm2, only where the blocks have the machine's size",
    "memory_bits": "bits of the blocks' memories, which gate_equivalents leave out",
    "note": "the rule that scales the blocks to the machine's size, and what differs",
    "nand2_um2": "area of a NAND2 at the machine's node",
    "node_nm": "technology node",
    "source": "where the NAND2's area comes from",
}
"""Columns of `rtl_area.parquet`, which is written with the report."""

BLOCK_COLUMNS = {
    "block": "name in `prunesim list blocks`",
    "size": "the configuration that was synthesised",
    "gate_equivalents": "NAND2 equivalents, flip-flops included, memories not",
    "flipflop_bits": "flip-flops as gates",
    "memory_bits": "bits of memories, counted apart",
    "logic_depth_gates": "longest path between registers",
    "lut": "LUTs on UltraScale+, not packed: an upper bound",
    "lut_as_memory": "of these, LUTs that are memory",
    "ff": "flip-flops on UltraScale+",
    "dsp48e2": "DSP slices",
    "bram36": "block RAMs of 36 Kbit",
    "uram288": "UltraRAMs of 288 Kbit",
    "note": "why there are no numbers; else empty",
}
"""Columns of `rtl_blocks.parquet`, which is written with the report."""

Blocks = Mapping[str, Mapping[Any, Any]]
_EMPTY = float("nan")


class RtlTables(NamedTuple):
    """What synthesis says of the machines of a run."""

    areas: pd.DataFrame  # columns as `AREA_COLUMNS`
    blocks: pd.DataFrame  # columns as `BLOCK_COLUMNS`

    def save(self, folder: Path) -> None:
        """Write `rtl_area.parquet` and `rtl_blocks.parquet`."""
        self.areas.to_parquet(folder / "rtl_area.parquet")
        self.blocks.to_parquet(folder / "rtl_blocks.parquet")


def rtl_tables(run: RunData) -> RtlTables:
    """Return a row for each part of each machine of a run, and one for each block."""
    areas = run.tables["area"].drop(columns="method").drop_duplicates()
    blocks = recorded_blocks()
    by_name = {row["block"]: row for row in blocks.to_dict("records")}
    rows = []
    for machine in run.machines:
        own = areas[areas["machine"] == machine]
        config = json.loads(run.rows.loc[run.rows["machine"] == machine, "config"].iloc[0])
        found = machine_rows(own, config, by_name)
        rows += [{"machine": machine} | row for row in found]
    return RtlTables(pd.DataFrame(rows, columns=list(AREA_COLUMNS)), blocks)


def recorded_blocks() -> pd.DataFrame:
    """Return what was recorded of every block, columns as `BLOCK_COLUMNS`."""
    record, stale = read_record(), set(stale_blocks())
    rows = []
    for name in BLOCKS:
        row = {"block": name, "size": _text(_size(name)), "note": _problem(name, record, stale)}
        if not row["note"]:
            row |= record[name]["asic"] | record[name]["fpga"]
        rows.append(row)
    return pd.DataFrame(rows, columns=list(BLOCK_COLUMNS))


def rtl_note(tables: RtlTables) -> str:
    """Say how the areas come about and how far they can be trusted."""
    text = "Gates: NAND2 equivalents of our blocks by synthesis, with flip-flops, nothing placed."
    for _, row in tables.areas[["source", "nand2_um2"]].drop_duplicates().iterrows():
        text += (
            f" Times {row['nand2_um2']:.3g} um2: {row['source']}, an estimate. A 12-track NAND2 "
            f"of TSMC 40G has {NAND2_40NM_TALL_UM2} um2, which would make RTL areas and ratios "
            f"{NAND2_40NM_TALL_UM2 / row['nand2_um2']:.2g} times as large."
        )
    used = {
        name.split()[-1] for text in tables.areas["blocks"] for name in text.split(" + ") if name
    }
    depth = tables.blocks.loc[tables.blocks["block"].isin(used), "logic_depth_gates"].max()
    if depth > 0:
        text += (
            " The operators' figures are for 1 ns, the synthesis has no clock target: paths of "
            f"up to {depth:.0f} gates would need larger gates or more registers."
        )
    return text + (
        " Memories are counted in bits; their areas stand above. A ratio is given only where a "
        "stated rule leads to the machine's size."
    )


def nand2_um2(node_nm: float) -> float:
    """Return the area of a NAND2 at a node.

    Raises:
        InputError: a node outside 7..65 nm.
    """
    return scale_area(NAND2_45NM_UM2, 45, node_nm)


def nand2_source(node_nm: float) -> str:
    """Say where the area of a NAND2 comes from."""
    return (
        f"FreePDK45 NAND2 x1 {NAND2_45NM_UM2} um2 at 45 nm, to {node_nm:.0f} nm by "
        f"Stillmaker & Baas 2017 (x {scale_area(1, 45, node_nm):.3f})"
    )


def machine_rows(
    areas: pd.DataFrame, config: Mapping[str, Any], blocks: Blocks
) -> list[dict[str, Any]]:
    """Return the rows of one machine.

    Args:
        areas: the machine's rows of the area table.
        config: the machine's configuration, nested.
        blocks: block -> its row of `recorded_blocks`.
    """
    if areas.empty:
        return []
    node_nm = float(areas["node_nm"].iloc[0])
    gate_um2 = nand2_um2(node_nm)
    present = list(dict.fromkeys(areas["component"]))
    known = {name for part in PARTS for name in part.logic + part.memories}
    others = [Part((name,), (), ()) for name in present if name not in known]
    rows = []
    for part in (*PARTS, *others):
        components = [name for name in part.logic if name in present]
        memories = [name for name in part.memories if name in present]
        uses = [use for use in part.uses if use.of in config]
        if not components and not memories and not uses:
            continue
        logic = areas.loc[areas["component"].isin(part.logic), "area_mm2"]
        estimate_mm2 = float(logic.sum()) if len(logic) else _EMPTY
        counts = _counts(uses, config, blocks)
        area_mm2 = counts.gate_equivalents * gate_um2 * 1e-6
        rows.append(
            {
                "component": ", ".join(components),
                "memories": ", ".join(memories),
                "estimate_mm2": estimate_mm2,
                "blocks": counts.blocks,
                "gate_equivalents": counts.gate_equivalents,
                "area_mm2": area_mm2,
                "ratio": area_mm2 / estimate_mm2 if counts.scaled and estimate_mm2 else _EMPTY,
                "memory_bits": counts.memory_bits,
                "note": f"{counts.note}; {part.differs}"
                if counts.known and part.differs
                else counts.note,
                "nand2_um2": gate_um2,
                "node_nm": node_nm,
                "source": nand2_source(node_nm),
            }
        )
    return rows


@dataclass(frozen=True)
class _Counts:
    """What the blocks of a part come to; without numbers the note says why."""

    note: str
    blocks: str = ""
    gate_equivalents: float = _EMPTY
    memory_bits: float = _EMPTY
    scaled: bool = False  # to the machine's size; else each block once, as recorded

    @property
    def known(self) -> bool:
        """Whether there are numbers."""
        return not math.isnan(self.gate_equivalents)


def _counts(uses: Sequence[Use], config: Mapping[str, Any], blocks: Blocks) -> _Counts:
    names = list(dict.fromkeys(use.block for use in uses))
    if not uses:
        return _Counts("no RTL")
    problems = [note for name in names if (note := blocks[name]["note"])]
    if problems:
        return _Counts("; ".join(problems), " + ".join(names))
    rules = [factor(use, config) for use in uses]
    numbers = [
        (use.block, number)
        for use, (number, _) in zip(uses, rules, strict=True)
        if number is not None
    ]
    scaled = len(numbers) == len(uses)
    if not scaled:
        numbers = [(name, 1.0) for name in names]
    gates, bits = (
        float(sum(number * blocks[name][column] for name, number in numbers))
        for column in ("gate_equivalents", "memory_bits")
    )
    counted = [(sum(use.block == name for use in uses) if scaled else 1, name) for name in names]
    return _Counts(
        "; ".join(dict.fromkeys(why for number, why in rules if scaled or number is None)),
        " + ".join(name if number == 1 else f"{number} x {name}" for number, name in counted),
        gates,
        bits,
        scaled,
    )


def factor(use: Use, config: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return how many times the recorded block the machine has, None without a rule, and why."""
    size = _size(use.block)
    differ = [
        f"{name} {size[name]}, here {_look_up(config, path)}"
        for name, path in use.same.items()
        if size[name] != _look_up(config, path)
    ]
    if differ:
        return None, f"not scaled: {use.block} has {'; '.join(differ)}"
    if use.per is not None:
        name, path = use.per
        here = _look_up(config, path)
        if here is None:
            return None, f"not scaled: {path} is not known"
        if here != size[name]:
            why = f"{use.block} x {here}/{size[name]} {name}, without {use.lacks}"
            return here / size[name], why
    elif not use.same:
        return None, "not scaled: one of the size below"
    return 1.0, "the machine's size"


def _size(block: str) -> dict[str, Any]:
    """Return the whole configuration at which a block is synthesised."""
    return BLOCKS[block].make_config(SYNTHESISED.get(block, {})).model_dump()


def _problem(name: str, record: Mapping[str, Any], stale: set[str]) -> str:
    if name not in record:
        return f"{name} is not recorded: `{RENEW}`"
    return f"{name} has changed since it was recorded: `{RENEW}`" if name in stale else ""


def _look_up(config: Mapping[str, Any], path: str) -> Any:
    """Return a value of a nested configuration by its dotted name, None where there is none."""
    value: Any = config
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(size: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in size.items())
