"""The table of published systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.gpu.baselines.systems import BASES, COLUMNS, read_systems
from workloads.errors import InputError

HEADER = "\t".join(COLUMNS)
ROW = ("w", "s", "d", "rate", "token/s", "50", "", BASES[0], "a paper", "")


def test_every_row_has_a_source() -> None:
    systems = read_systems()
    assert len(systems) > 15
    for system in systems:
        assert system.source
        assert system.device
        assert system.basis in BASES
        assert system.value > 0
    by_name = {(s.workload, s.system, s.device): s for s in systems}
    gpu = by_name["gpt2-medium-decode", "PyTorch, dense", "TITAN Xp"]
    assert gpu.token_ns == pytest.approx(366.7e6 / 32)
    board = by_name["llama-2-7b-decode", "AccLLM", "Alveo U280"]
    assert board.token_ns == pytest.approx(1e9 / 164)
    assert board.power_w == 33
    assert by_name["all", "SpAtten against TITAN Xp", "TITAN Xp"].token_ns is None


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        (4, "ms", r":2: quantity and unit must be of .* not 'rate' in 'ms'"),
        (5, "fast", r":2: value must be a number above 0, not 'fast'"),
        (5, "-1", r":2: value must be a number above 0, not '-1'"),
        (6, "nan", r":2: power_w must be a number above 0, not 'nan'"),
        (7, "guessed", r":2: basis must be one of"),
        (8, "", r":2: source must not be empty"),
    ],
)
def test_bad_rows(tmp_path: Path, place: int, text: str, said: str) -> None:
    path = tmp_path / "systems.tsv"
    fields = [*ROW]
    fields[place] = text
    path.write_text(HEADER + "\n" + "\t".join(fields) + "\n")
    with pytest.raises(InputError, match=said):
        read_systems(path)


def test_bad_columns(tmp_path: Path) -> None:
    path = tmp_path / "systems.tsv"
    path.write_text("a\tb\n")
    with pytest.raises(InputError, match="must have the columns workload"):
        read_systems(path)
    path.write_text(HEADER + "\nshort\n")
    with pytest.raises(InputError, match=":2 must have 10 fields, it has 1"):
        read_systems(path)
