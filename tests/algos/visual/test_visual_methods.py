"""What holds for every method that chooses visual tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algos import METHODS
from algos.selection import keep_count
from algos.visual.base import VisualInput, VisualMethod
from algos.visual.fopru import FoPru
from algos.visual.hiprune import HiPrune
from algos.visual.holov import HoloV
from algos.visual.recoverable import RecoverableCompression
from algos.visual.uniform import evenly_spaced
from algos.visual.zoo_prune import ZOOPrune
from tests.algos.visual.inputs import equal_input, generators, one_image, visual_input
from workloads.errors import InputError

VISUAL = [name for name, kind in METHODS.items() if issubclass(kind, VisualMethod)]


def make(name: str, **fields: object) -> VisualMethod:
    method = METHODS[name](**fields)
    assert isinstance(method, VisualMethod)
    return method


def test_the_family_is_there() -> None:
    assert len(VISUAL) >= 16


@pytest.mark.parametrize("name", VISUAL)
@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (4, 5)])
def test_the_budget_is_met_exactly(name: str, grid: tuple[int, int]) -> None:
    seen = visual_input(grid=grid)
    for ratio in (0.01, 0.1, 0.33, 0.5, 0.75, 0.95, 1):
        check_budget(make(name, keep_ratio=ratio), seen)


def check_budget(method: VisualMethod, seen: VisualInput) -> None:
    n = seen.features.shape[1]
    k = keep_count(method.keep_ratio, n)
    selected = method.select(seen)
    assert selected.kept.shape == (3, k)
    assert selected.kept.dtype == torch.int64
    assert (selected.kept >= 0).all()
    assert (selected.kept < n).all()
    assert (selected.kept.diff() > 0).all()
    if selected.merge is not None:
        assert selected.merge.shape == (3, k, n)
        assert torch.allclose(selected.merge.sum(2), torch.ones(3, k), atol=1e-6)
        assert ((selected.merge > 0).sum(1) <= 1).all()  # no token goes into two


@pytest.mark.parametrize("name", VISUAL)
def test_all_is_kept_at_ratio_1(name: str) -> None:
    selected = make(name, keep_ratio=1).select(visual_input())
    assert (selected.kept == torch.arange(20)).all()
    if selected.merge is not None:
        assert torch.equal(selected.merge, torch.eye(20).expand(3, -1, -1))


@pytest.mark.parametrize("name", VISUAL)
def test_neighbours_in_the_batch_change_nothing(name: str) -> None:
    method = make(name, keep_ratio=0.4)
    together = method.select(visual_input())
    for image in range(3):
        alone = method.select(one_image(visual_input(), image))
        assert torch.equal(alone.kept[0], together.kept[image])
        if alone.merge is not None and together.merge is not None:
            assert torch.allclose(alone.merge[0], together.merge[image])


@pytest.mark.parametrize("name", VISUAL)
def test_every_image_is_looked_at(name: str) -> None:
    """Images get sets of their own, but for even spacing, which looks at none."""
    kept = make(name, keep_ratio=0.5).select(visual_input(images=6)).kept
    different = len({tuple(row) for row in kept.tolist()})
    assert different == 1 if name == "uniform-visual" else different > 1


@pytest.mark.parametrize("name", VISUAL)
def test_equal_tokens_give_a_selection(name: str) -> None:
    kept = make(name, keep_ratio=0.5).select(equal_input()).kept
    assert kept.shape == (2, 6)
    if name in {
        "agile-pruner",
        "divprune",
        "fastervlm",
        "fopru",
        "hiprune",
        "idpruner",
        "norm-visual",
        "todre-diversity",
    }:
        assert kept.tolist() == [[0, 1, 2, 3, 4, 5]] * 2


@pytest.mark.parametrize("name", sorted(set(VISUAL) - {"random-visual", "uniform-visual"}))
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    """Break everything in the second image: whatever a method looks at, it must notice."""
    seen = visual_input()

    def broken(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[1] = bad
        return x

    bad_input = replace(
        seen,
        features=broken(seen.features),
        encoder_features=broken(seen.encoder_features),
        attention=[broken(x) for x in seen.attention],
        keys=[broken(x) for x in seen.keys],
        values=[broken(x) for x in seen.values],
        pixels=broken(seen.pixels),
        text=broken(seen.text),
    )
    with pytest.raises(InputError, match="must be finite, in image 1"):
        make(name).select(bad_input)


@pytest.mark.parametrize("name", [n for n in VISUAL if "layer" in METHODS[n].model_fields])
def test_a_layer_must_be_there(name: str) -> None:
    with pytest.raises(InputError, match="at least 5 layers, not 4"):
        make(name, layer=-5).select(visual_input())
    with pytest.raises(InputError, match="layer must be less than or equal to -1, not 0"):
        make(name, layer=0)


def test_hiprune_takes_its_object_layer_by_depth() -> None:
    seen = visual_input(layers=8)
    fields = {"keep_ratio": 0.5, "alpha": 0.5}
    by_depth = HiPrune(**fields).select(seen).kept
    assert torch.equal(by_depth, HiPrune(**fields, object_layer=3).select(seen).kept)
    assert not torch.equal(by_depth, HiPrune(**fields, object_layer=6).select(seen).kept)
    with pytest.raises(InputError, match="at least 9 layers, not 8"):
        HiPrune(object_layer=9).select(seen)


def test_hiprune_of_the_authors_wraps() -> None:
    seen = visual_input(images=12)
    paper, authors = (
        HiPrune(keep_ratio=0.75, alpha=1, compat=compat).select(seen).kept
        for compat in ("paper", "authors")
    )
    assert paper.shape == authors.shape
    assert not torch.equal(paper, authors)


def test_fopru_keeps_whole_rows() -> None:
    kept = FoPru(keep_ratio=0.5, strategy="row").select(visual_input()).kept
    assert (kept.view(3, 2, 5) % 5 == torch.arange(5)).all()


def test_holov_of_the_authors_pads_with_nothing() -> None:
    seen = peaked(visual_input())
    selected = HoloV(keep_ratio=0.5, crops=4, compat="authors").select(seen)
    assert selected.merge is not None
    made = selected.merge.sum(2)
    assert ((made == 0) | (made == 1)).all()
    assert made.sum(1).tolist() == [5, 5, 5]  # one crop of five takes the whole budget
    assert (selected.kept.diff() > 0).all()
    paper = HoloV(keep_ratio=0.5, crops=4).select(seen)
    assert paper.merge is None
    assert paper.kept.shape == selected.kept.shape


def peaked(seen: VisualInput) -> VisualInput:
    """Let the class token look at token 7 alone, and all tokens be alike."""
    attention = torch.zeros_like(seen.attention[-1])
    attention[..., 8] = 1
    return replace(
        seen,
        attention=[attention] * len(seen.attention),
        features=torch.ones_like(seen.features),
    )


def test_recoverable_asks_the_question() -> None:
    seen = visual_input()
    method = RecoverableCompression(keep_ratio=0.4)
    other = replace(seen, text=-seen.text)
    assert not torch.equal(method.select(seen).kept, method.select(other).kept)
    alone = RecoverableCompression(keep_ratio=0.4, text_share=0, merge_share=0)
    assert torch.equal(alone.select(seen).kept, alone.select(other).kept)
    assert alone.select(seen).merge is None


def test_zoo_prune_draws_from_the_images_generators() -> None:
    method = ZOOPrune(keep_ratio=0.4, directions=1)
    seen = visual_input()
    first, second = method.select(seen), method.select(seen)  # generators moved on
    again = method.select(replace(seen, generators=generators(3)))
    assert torch.equal(first.kept, again.kept)
    assert not torch.equal(first.kept, second.kept)


def test_random_tokens_are_kept_equally_often() -> None:
    method = make("random-visual", keep_ratio=0.25)
    kept = torch.cat([method.select(visual_input(images=400)).kept])
    counts = torch.bincount(kept.flatten(), minlength=20)
    assert counts.sum() == 2000
    assert 65 <= counts.min() <= counts.max() <= 135  # 100 each, within 4 standard deviations


def test_even_steps() -> None:
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]


def test_norm_keeps_the_largest() -> None:
    seen = visual_input()
    kept = make("norm-visual", keep_ratio=0.1).select(seen).kept
    size = seen.features.norm(dim=-1)
    assert (size.gather(1, kept).amin(1) >= size.topk(3, dim=1).values[:, 1]).all()
