"""The table of published systems: complete, and every one of them carried by a method."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from algos import METHODS
from algos.base import TRACE_KINDS
from algos.systems import TABLE, How, System, Tier, read_systems

SYSTEMS = read_systems()
BY_ID = {system.id: system for system in SYSTEMS}


def test_all_are_there_once() -> None:
    assert len(SYSTEMS) == len(BY_ID) == len({system.name for system in SYSTEMS}) == 122
    assert Counter(system.tier for system in SYSTEMS) == {"A": 17, "B": 40, "C": 65}
    assert [system.tier for system in SYSTEMS] == sorted(system.tier for system in SYSTEMS)


@pytest.mark.parametrize("system", SYSTEMS, ids=BY_ID)
def test_row(system: System) -> None:
    assert system.id[0] == "S"
    assert system.id[1:].isdigit()
    assert system.tier in get_args(Tier)
    assert system.how in get_args(How)
    assert system.name
    assert system.family
    assert 0 < len(system.rule) <= 160
    assert system.trace
    assert set(system.trace) <= set(TRACE_KINDS) - {"none"}


@pytest.mark.parametrize("system", SYSTEMS, ids=BY_ID)
def test_a_method_carries_it(system: System) -> None:
    assert system.method in METHODS
    assert set(system.also) <= set(METHODS) - {system.method}
    assert METHODS[system.method].family != "control"


@pytest.mark.parametrize("system", SYSTEMS, ids=BY_ID)
def test_a_substitute_says_what_stands_for_what(system: System) -> None:
    assert system.how == "own rule" or system.criterion


def test_only_rules_of_pretrained_models_are_their_own() -> None:
    """What a paper of tier C trains is not here: none but oBERT's price of a weight is exact."""
    own = {system.name for system in SYSTEMS if system.tier == "C" and system.how == "own rule"}
    assert own == {"oBERT"}
    untrained = {s.name for s in SYSTEMS if s.tier != "C" and s.how == "substitute criterion"}
    assert untrained == {"FTP"}


def test_columns_that_hold_lists() -> None:
    assert BY_ID["S001"].trace == ("token mask", "head mask", "KV set, evict", "precision")
    assert BY_ID["S032"].also == ("todre-drop",)
    assert BY_ID["S031"].also == ()


def test_table_is_packaged(root: Path) -> None:
    data = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert TABLE.name in data["tool"]["setuptools"]["package-data"]["algos"]
