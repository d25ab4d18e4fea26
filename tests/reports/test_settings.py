"""`--set` reaches the right configuration or says what is wrong."""

from __future__ import annotations

import pytest

from reports.settings import field_docs, shared, split_settings
from workloads.config import Config
from workloads.errors import InputError


class Inner(Config):
    """A group."""

    lanes: int = 8
    """items a cycle"""


class PruneConfig(Config):
    """A method."""

    keep_ratio: float = 0.5
    """kept
    share"""
    seed: int = 0


class BoxConfig(Config):
    """A machine."""

    topk: Inner = Inner()
    seed: int = 0


def test_names_find_their_owner() -> None:
    split = split_settings(["keep_ratio=0.3", "topk.lanes=32"], PruneConfig(), BoxConfig())
    assert split.method == {"keep_ratio": "0.3"}
    assert split.machine == {"topk.lanes": "32"}


def test_prefix_decides() -> None:
    split = split_settings(["method.seed=1", "machine.seed=2"], PruneConfig(), BoxConfig())
    assert split == ({"seed": "1"}, {"seed": "2"})


def test_both_have_it() -> None:
    with pytest.raises(
        InputError,
        match=r"^setting 'seed' must be written method\.seed or machine\.seed, both have it$",
    ):
        split_settings(["seed=1"], PruneConfig(), BoxConfig())


@pytest.mark.parametrize(
    ("name", "near"),
    [("keep_ration", "keep_ratio"), ("topk.lane", "topk.lanes"), ("lanes", "topk.lanes")],
)
def test_unknown_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        split_settings([f"{name}=1"], PruneConfig(), BoxConfig())
    assert str(caught.value) == (
        f"setting must be a field of method PruneConfig or machine BoxConfig, not {name!r} "
        f"(did you mean {near!r}?)"
    )


def test_not_a_setting() -> None:
    with pytest.raises(InputError, match="must look like name=value"):
        split_settings(["lanes"], None, BoxConfig())


def test_fields_and_what_a_control_shares() -> None:
    assert BoxConfig().field_names() == ["topk.lanes", "seed"]
    assert field_docs(BoxConfig())["topk.lanes"] == "items a cycle"
    assert field_docs(PruneConfig())["keep_ratio"] == "kept share"
    assert shared({"seed": "1", "topk.lanes": "2"}, PruneConfig()) == {"seed": "1"}
