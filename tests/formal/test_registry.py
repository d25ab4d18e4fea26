"""Every claim of proof in the registry has a module of proofs behind it, and the reverse."""

from __future__ import annotations

from pathlib import Path

from rtl.registry import BLOCKS

FOLDER = Path(__file__).parent
NO_BLOCK = {"prove", "registry"}  # tests of the checker and of the registry


def test_claims_and_proofs_agree() -> None:
    modules = {path.stem.removeprefix("test_") for path in FOLDER.glob("test_*.py")}
    assert modules - NO_BLOCK == {name for name, block in BLOCKS.items() if block.proven}


def test_each_proof_has_a_variant_that_must_fail() -> None:
    for name, block in BLOCKS.items():
        if block.proven:
            assert "assert not holds(" in (FOLDER / f"test_{name}.py").read_text(), name
