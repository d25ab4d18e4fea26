"""The cost model against published measurements, and what it may take from them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.gpu import fit, published
from sim.gpu.curves import DEFAULT, INFORMED, SET_BY, Curves
from sim.gpu.libraries import KERNELS
from workloads.errors import InputError


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return published.published_table()


def test_every_measurement_is_there_once() -> None:
    rows = published.read_published()
    assert len(rows) == len({row.id for row in rows}) == 94
    assert all(row.measured > 0 and row.source for row in rows)
    assert {row.kernel for row in rows if row.role != "no-time"} <= set(KERNELS)
    assert len({row.device for row in rows} - {""}) >= 7


def test_at_most_a_third_of_the_rows_set_anything_and_all_are_named() -> None:
    rows = published.read_published()
    curve = {row.id for row in rows if row.role == "curve"}
    setting = {name for names in SET_BY.values() for name in names}
    informing = {name for names in INFORMED.values() for name in names}
    assert curve == setting | informing
    assert not setting & informing
    assert len(curve) <= len(rows) // 3
    assert set(SET_BY) == {field.name for field in fields(Curves)}


@pytest.mark.fidelity
def test_rows_that_set_nothing_are_predicted_within_the_bar(table: pd.DataFrame) -> None:
    found = published.summary(table)
    assert found["check_rows"] >= 55
    assert found["median_deviation"] < 0.15
    assert found["ninth_decile_deviation"] < 0.35
    assert found["within_35_percent"] >= 0.9


@pytest.mark.fidelity
@pytest.mark.parametrize("family", ["P", "D", "G", "X"])
def test_no_family_of_kernels_is_off_as_a_whole(table: pd.DataFrame, family: str) -> None:
    rows = table[(table["role"] == "check") & table["id"].str.startswith(family)]
    assert rows["deviation"].abs().median() < 0.25
    assert abs(np.log1p(rows["deviation"]).mean()) < 0.25


def test_each_outlier_and_no_good_row_has_a_reason(table: pd.DataFrame) -> None:
    outliers = published.summary(table)["outliers"]
    assert set(outliers) <= set(published.OUTLIERS)
    off = table.set_index("id")["deviation"].abs()
    assert all(off[name] > 0.3 for name in published.OUTLIERS)  # near the limit at least
    missing = table[table["role"] == "no-time"]
    assert (missing["reason"] != "").all()
    assert missing["modelled_ns"].isna().all()
    text = published.summary_text(table)
    for name in outliers:
        assert f"{name} (" in text
        assert published.OUTLIERS[name] in text


def test_curves_are_what_their_rows_give() -> None:
    found = fit.fit(fit.prepare(fit.set_by(published.read_published())))
    for field in fields(Curves):
        committed = getattr(DEFAULT, field.name)
        assert getattr(found, field.name) == pytest.approx(committed, rel=0.02), field.name


def test_fit_finds_curves_that_made_the_times() -> None:
    """Replace measured times by modelled ones: a known answer, from rows that set it."""
    truth = replace(DEFAULT, dram_hbm3=0.8, tensor_library=0.85, sustained_fp16=0.7)
    rows = fit.prepare(fit.set_by(published.read_published()))
    made = []
    for row in rows:
        ns = row.measurement.ns * (1 + row.deviation(truth))
        made.append(
            replace(row, measurement=replace(row.measurement, measured=ns / 1e3, unit="us"))
        )
    found = fit.fit(made)
    assert found.dram_hbm3 == pytest.approx(0.8, rel=0.04)
    assert found.tensor_library == pytest.approx(0.85, rel=0.04)
    assert found.sustained_fp16 == pytest.approx(0.7, rel=0.04)


@pytest.mark.fidelity
def test_it_is_a_model_and_not_a_fit() -> None:
    """Without a third of the rows that set curves, what is held out is still predicted."""
    folds = fit.cross_validate()
    dropped = np.concatenate([np.abs(list(fold.dropped.values())) for fold in folds])
    assert len(dropped) == len({name for names in SET_BY.values() for name in names})
    assert np.median(dropped) < 0.15
    for fold in folds:
        checks = np.abs(list(fold.checks.values()))
        assert np.median(checks) < 0.15
        assert np.quantile(checks, 0.9) < 0.35


@pytest.mark.fidelity
def test_even_the_guesses_before_any_row_are_near() -> None:
    judged = fit.prepare(row for row in published.read_published() if row.role == "check")
    off = np.abs([row.deviation(fit.PRIOR) for row in judged])
    assert np.median(off) < 0.15


def test_units_become_nanoseconds() -> None:
    rows = {row.id: row for row in published.read_published()}
    assert rows["G7"].ns == 25_000
    assert rows["G30"].ns == pytest.approx(2 * 16_384**3 / 302.3e12 * 1e9)
    assert rows["P9"].ns == pytest.approx(4 * 8 * 16 * 2048**2 * 128 / 2 / 521e12 * 1e9)
    assert rows["P4"].ns == pytest.approx(3.5 * 4 * 16 * 16_384**2 * 128 / 203e12 * 1e9)
    assert rows["D21"].ns == pytest.approx(146e9 / 410e12 * 1e9, rel=0.01)
    with pytest.raises(InputError, match="D19"):
        _ = rows["D19"].ns


def test_files_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    published.write_published(tmp_path / "a")
    published.write_published(tmp_path / "b")
    names = ("published.csv", "published.png", "published.svg")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    back = pd.read_csv(tmp_path / "a" / "published.csv")
    assert list(back["id"]) == [row.id for row in published.read_published()]
    assert (tmp_path / "a" / "published.svg").read_text("utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\tcheck\t", "\tjudge\t", "role must be one of"),
        ("\t936.2\t", "\tfast\t", "must be a number"),
        ("id\trole", "name\trole", "must have the columns"),
        ("\tgraph\t", "\t", "must have 11 fields"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "published.tsv"
    path.write_text(published.TABLE.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(InputError, match=words):
        published.read_published(path)
