"""The store: what is kept stays, what cannot be used is told."""

import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from sim.sweep import store as stores
from sim.sweep.store import FILE, Store, Stored
from workloads.errors import InputError

POINT = Stored(
    key="k1",
    number=0,
    status="done",
    assignment={"machine.x": 1, "machine": "a", "method.y": None, "z": 0.1},
    trace="t",
    row={"latency_ns": 1.5, "area_mm2": None, "name": "é"},
    detail={"units": {"unit": ["a", "b"], "cycles": [1, 2]}},
    seconds=0.25,
)
FAILED = Stored("k2", 1, "failed", {"machine.x": 0}, "t", reason="x must be more, 0")


def test_a_point_comes_back_as_it_was_kept(tmp_path):
    with Store(tmp_path) as store:
        store.add(POINT)
        store.add(FAILED)
        store.note("space", {"title": "é"})
        store.add_trace("t", {"method": "m"}, 0.5, None)
    with Store(tmp_path) as store:
        assert list(store.points(details=True)) == [POINT, FAILED]
        assert list(store.points()) == [replace(POINT, detail=None), FAILED]
        assert store.get("k1") == replace(POINT, detail=None)
        assert store.get("k3") is None
        assert store.status("k2") == ("failed", 1)
        assert store.status("k3") is None
        assert store.counts() == {"done": 1, "failed": 1}
        assert store.about("space") == {"title": "é"}
        assert store.about("nothing") is None
        assert store.traces() == {
            "t": {"status": "done", "reason": None, "description": {"method": "m"}, "seconds": 0.5}
        }


def test_a_point_kept_again_takes_the_place_of_the_old_one(tmp_path):
    with Store(tmp_path) as store:
        store.add(replace(POINT, status="failed"))
        store.add(POINT)
        assert list(store.points(details=True)) == [POINT]


def test_points_out_of_the_space_stay_but_are_not_shown(tmp_path):
    with Store(tmp_path) as store:
        store.add(POINT)
        store.add(FAILED)
        store.forget_numbers()
        assert list(store.points()) == []
        assert store.counts() == {}
        store.number_again("k2", 7)
        assert [(p.key, p.number) for p in store.points()] == [("k2", 7)]
        assert store.status("k1") == ("done", None)


def test_a_place_holds_one_point(tmp_path):
    with Store(tmp_path) as store:
        store.add(POINT)
        store.add(replace(FAILED, number=0))
        assert [p.key for p in store.points()] == ["k2"]
        assert store.status("k1") == ("done", None)
        store.number_again("k1", 0)
        assert [p.key for p in store.points()] == ["k1"]
        assert store.status("k2") == ("failed", None)
        store.add(POINT)
        assert [p.key for p in store.points()] == ["k1"]


def test_a_reader_sees_what_is_there_while_a_sweep_writes(tmp_path):
    with Store(tmp_path) as store:
        store.add(POINT)
        with Store(tmp_path, reading=True) as reader:
            assert len(list(reader.points())) == 1
            store.add(FAILED)
            assert len(list(reader.points())) == 2
    with Store(tmp_path, reading=True) as reader:
        assert len(list(reader.points())) == 2


def test_a_reader_writes_nothing(tmp_path):
    with pytest.raises(InputError, match=r"must be a sweep's folder with sweep.sqlite"):
        Store(tmp_path, reading=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / FILE).touch()
    with pytest.raises(InputError, match="must hold a sweep, none has begun in it yet"):
        Store(tmp_path, reading=True)
    assert (tmp_path / FILE).read_bytes() == b""


def test_a_sweep_that_was_killed_before_it_began_can_begin(tmp_path):
    (tmp_path / FILE).touch()
    with Store(tmp_path) as store:
        store.add(POINT)
        assert store.counts() == {"done": 1}


def test_two_sweeps_cannot_use_one_folder(tmp_path):
    second = (
        "import sys; from pathlib import Path; from sim.sweep.store import Store\n"
        "try: Store(Path(sys.argv[1]))\n"
        "except ValueError as error: sys.exit(str(error))"
    )
    arguments = [sys.executable, "-c", second, str(tmp_path)]
    with Store(tmp_path):
        told = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert told.returncode == 1
        assert told.stderr.strip() == (
            f"{tmp_path} must be used by one sweep at a time, another one is running in it"
        )
        with pytest.raises(InputError, match="another one is running in it"):
            Store(tmp_path)
    subprocess.run(arguments, check=True)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("schema", "2", "must have schema 1, it has 2: use the version of prunesim that made it"),
        ("code", '"abc"', "must be of this code, version .*, it is of abc: its rows would not"),
    ],
)
def test_a_store_of_another_version_is_told(tmp_path, name, value, sentence):
    with Store(tmp_path) as store:
        store.add(POINT)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("update about set value = ? where name = ?", (value, name))
    database.close()
    for _ in range(2):  # the lock is given back
        with pytest.raises(InputError, match=sentence):
            Store(tmp_path)


def test_rows_of_older_code_can_still_be_read(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.add(POINT)
    monkeypatch.setattr(stores, "code_version", lambda: "newer")
    with Store(tmp_path, reading=True) as reader:
        assert reader.counts() == {"done": 1}


@pytest.mark.parametrize("reading", [True, False])
def test_a_broken_file_is_told(tmp_path, reading):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"sweep.sqlite must be a sweep's SQLite file: "):
        Store(tmp_path, reading=reading)


@pytest.mark.parametrize("reading", [True, False])
def test_a_foreign_database_is_told(tmp_path, reading):
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("create table other (x)")
    database.close()
    with pytest.raises(InputError, match="must be a sweep's SQLite file: no such table: about"):
        Store(tmp_path, reading=reading)


def test_a_file_with_a_broken_page_is_told(tmp_path):
    with Store(tmp_path) as store:
        for i in range(300):
            store.add(replace(POINT, key=f"{i:032}", number=i))
    content = bytearray((tmp_path / FILE).read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 8192 - 4096)
    (tmp_path / FILE).write_bytes(content)
    with (
        pytest.raises(InputError, match="must be a sweep's SQLite file"),
        Store(tmp_path, reading=True) as reader,
    ):
        list(reader.points())


def test_no_room_is_one_sentence_and_what_was_kept_stays(tmp_path):
    with Store(tmp_path) as store:
        store._db.execute("pragma max_page_count = 20")
        points = (replace(POINT, key=f"{i:032}", number=i) for i in range(1000))
        with pytest.raises(InputError, match=r"sqlite must be writable: .* full; what was fin"):
            list(map(store.add, points))
        kept = store.counts()["done"]
    assert kept > 10
    with Store(tmp_path) as store:
        assert store.counts() == {"done": kept}
        store.add(FAILED)
