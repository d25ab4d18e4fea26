"""The bench with a made-up device: what is refused, kept, resumed, and what one failure costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from algos.kernels import KERNELS, bench, bench_apart, ceilings, plan
from algos.kernels.apart import Died
from algos.kernels.base import Kernel
from algos.kernels.bench import Ceilings, copies, left, rates
from algos.kernels.dense_prefill.kernel import DensePrefill, Prefill
from algos.kernels.device import Load, Timing, label_of
from algos.kernels.numerics import Numerics
from algos.kernels.plan import Settings
from algos.kernels.rows import Rows, read_rows
from workloads.errors import InputError

TINY = Prefill(heads=2, kv_heads=1, queries=24, keys=24, dim=16, causal=True)
SETTINGS = Settings(windows=5, sweep_windows=5, shares=(0.0, 0.5), most_copies=3)
CEILINGS = Ceilings(1e9, 2e9, None, 1e9)


class Halved(DensePrefill):
    """A made-up sparse kernel: fewer keys."""

    __module__ = DensePrefill.__module__  # whose folder holds its programs
    name: ClassVar[str] = "halved"
    dense: ClassVar[str | None] = "dense-prefill"
    sparsity: ClassVar[str] = "share of keys left out"
    torch_kernel: ClassVar[str] = ""
    papers: ClassVar = {"tiny": TINY}

    def at_sparsity(self, shape: Prefill, share: float) -> Prefill:
        return shape.override({"keys": max(24, round(shape.keys * (1 - share)))})

    def dense_shape(self, shape: Prefill) -> Prefill:
        return shape


class Fake:
    """A device on which a call takes as long as it is told; it really runs each call once."""

    name = "cpu"
    target = "sm_90"
    l2_bytes = 1_000_000

    def __init__(self, times: Callable[[int], float] = lambda _: 1000.0) -> None:
        self.times, self.asked, self.broken_at, self.lost = times, 0, -1, False

    def facts(self) -> dict[str, Any]:
        return {"device": "Fake 100", "label": "measured:fake-100", "driver": "1", "cuda": "0"}

    def free_bytes(self) -> int:
        return 10_000_000

    def time(self, calls: Sequence[Callable[[], Any]], windows: int, window_ns: float) -> Timing:
        self.asked += 1
        if self.asked == self.broken_at:
            raise RuntimeError("out of\nmemory")
        for call in calls:
            call()
        return Timing(tuple(self.times(at) for at in range(windows)), 2, "graph")

    def load(self, calls: Sequence[Callable[[], Any]], seconds: float) -> Load:
        return Load(500.0, 1980.0, None)

    def is_lost(self, error: Exception) -> bool:
        return self.lost


@pytest.fixture(autouse=True)
def _two_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Kernel] = {"dense-prefill": DensePrefill(), "halved": Halved()}
    monkeypatch.setattr(DensePrefill, "papers", {"tiny": TINY})
    monkeypatch.setattr(DensePrefill, "tests", {"tiny": TINY})
    for name in [*KERNELS]:
        monkeypatch.delitem(KERNELS, name)
    for name in made:
        monkeypatch.setitem(KERNELS, name, "")
    monkeypatch.setattr(plan, "make_kernel", made.__getitem__)


@pytest.fixture
def numerics(monkeypatch: pytest.MonkeyPatch) -> dict[str, Numerics]:
    """Answer the comparison with the twin without a run; right unless a test says otherwise."""
    told: dict[str, Numerics] = {}
    monkeypatch.setattr(
        bench, "check", lambda kernel, device: told.get(kernel.name, Numerics(1e-4))
    )
    monkeypatch.setattr(bench, "launch", lambda *_: None)
    return told


def measured(tmp_path: Path, device: Fake, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    store = Rows(tmp_path / "gpu.jsonl", resume=True)
    bench.bench(plan.plan(names, SETTINGS), device, store, SETTINGS, CEILINGS)
    return read_rows(store.path)


def test_plan() -> None:
    cases = plan.plan(["halved"], SETTINGS)
    assert [(c.kernel, c.implementation, c.share) for c in cases] == [
        ("dense-prefill", "prunesim", None),
        ("dense-prefill", "torch SDPA", None),
        ("halved", "prunesim", None),
        ("halved", "prunesim", 0.0),
        ("halved", "prunesim", 0.5),
    ]
    assert cases[2].control_size == cases[0].size == plan.size_of(TINY)
    assert cases[0].make()[1] == TINY
    assert len({case.key for case in plan.plan([], SETTINGS)}) == len(plan.plan([], SETTINGS)) == 5
    assert [case.shape for case in plan.plan([], SETTINGS)][:1] == ["tiny"]
    with pytest.raises(InputError, match="did you mean 'halved'"):
        plan.plan(["halve"], SETTINGS)


def test_describe_counts_without_running() -> None:
    case = plan.plan(["halved"], SETTINGS)[0]
    found = plan.describe(case, "sm_90")
    assert found["programs"] == ["dense_prefill 1x2x1"]
    assert found["operand_bytes"] == 2 * 16 * (24 * 2 + 24 * 2 + 24 * 2)  # Q, K and V, output
    assert found["flops"] == 4 * 2 * (24 * 25 / 2) * 16


@pytest.mark.usefixtures("numerics")
def test_a_row_states_what_was_measured_and_with_what(tmp_path: Path) -> None:
    row = measured(tmp_path, Fake(lambda at: 1000.0 + at))[0]
    assert row["status"] == "measured"
    assert (row["p10_ns"], row["median_ns"], row["p90_ns"]) == (1000.4, 1002.0, 1003.6)
    assert row["energy_pj"] == pytest.approx(500 * 1002e-9 * 1e12)
    assert row["bytes_per_s"] == row["dram_bytes"] / 1002e-9
    assert row["copy_share"] == row["bytes_per_s"] / 1e9
    assert row["matmul_share"] == row["flops_per_s"] / 2e9
    assert (row["copies"], row["cold"]) == (3, False)  # bound by most_copies
    assert row["error"] == 1e-4
    assert {"driver", "cuda", "torch", "triton", "python", "commit", "date", "label"} <= set(row)
    assert row["sm_clock_mhz"] == 1980
    assert row["memory_clock_mhz"] is None


def test_a_kernel_with_wrong_results_is_not_timed(
    tmp_path: Path, numerics: dict[str, Numerics]
) -> None:
    numerics["halved"] = Numerics(0.5, "halved: output must be within 0.002")
    device = Fake()
    rows = measured(tmp_path, device)
    assert [row["status"] for row in rows] == ["measured"] * 2 + ["refused"] * 3
    assert rows[-1]["reason"] == "halved: output must be within 0.002"
    assert "median_ns" not in rows[-1]
    assert device.asked == 2


def test_the_comparison_really_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    rows = measured(tmp_path, Fake(), ["halved"])
    assert [row["status"] for row in rows] == ["measured"] * 5
    assert 0 < rows[0]["error"] < 2e-3
    monkeypatch.setattr(Halved, "tolerance", 1e-9)
    rows = measured(tmp_path, Fake(), ["halved"])[5:]
    assert [row["status"] for row in rows] == ["measured"] * 2 + ["refused"] * 3
    assert "output must be within 1e-09 of its naive twin, its error is" in rows[-1]["reason"]


def test_a_comparison_that_fails_refuses_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numerics: dict[str, Numerics]
) -> None:
    def fails(kernel: Kernel, device: str) -> Numerics:
        if kernel.name == "halved":
            raise RuntimeError("no such instruction")
        return Numerics(0.0)

    monkeypatch.setattr(bench, "check", fails)
    device = Fake()
    device.lost = True
    rows = measured(tmp_path, device)
    assert [row["status"] for row in rows] == ["measured"] * 2 + ["refused"] * 3
    assert rows[-1]["reason"].endswith("its naive twin: RuntimeError: no such instruction")


@pytest.mark.usefixtures("numerics")
def test_one_failure_costs_one_row(tmp_path: Path) -> None:
    device = Fake()
    device.broken_at = 3
    rows = measured(tmp_path, device)
    assert [row["status"] for row in rows] == ["measured"] * 2 + ["failed"] + ["measured"] * 2
    assert rows[2]["reason"] == "RuntimeError: out of memory"


@pytest.mark.usefixtures("numerics")
def test_resume_measures_what_is_missing_or_failed(tmp_path: Path) -> None:
    device = Fake()
    device.broken_at = 3
    measured(tmp_path, device)
    cases = plan.plan([], SETTINGS)
    rows = Rows(tmp_path / "gpu.jsonl", resume=True).last()
    assert left(cases, rows, "Fake 100", "sm_90") == [cases[2]]
    assert left(cases, rows, "Fake 200", "sm_90") == cases
    rows[cases[0].key]["sha256"] = "of other code"
    assert left(cases, rows, "Fake 100", "sm_90") == [cases[0], cases[2]]
    rows[cases[3].key]["programs"] = ["dense_prefill 2x2x1"]
    assert left(cases, rows, "Fake 100", "sm_90") == [cases[0], *cases[2:4]]


class InProcess:
    """Runs what another process would, on a made-up device; dies at given cases."""

    def __init__(self, store: Rows, dies: Sequence[int] = ()) -> None:
        self.store, self.dies, self.lives = store, {*dies}, 0

    def __call__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        watch: Callable[[], None] = lambda: None,
    ) -> Any:
        if function is bench_apart.ceilings_here:
            return "Fake 100", "sm_90", CEILINGS
        cases, _, settings, found = arguments
        self.lives += 1
        for case in cases:
            if plan.plan([], SETTINGS).index(case) in self.dies:
                raise Died("its process ended with exit code -11")
            bench.bench([case], Fake(), self.store, settings, found)
            watch()
        return None


@pytest.mark.usefixtures("numerics")
def test_a_process_that_dies_costs_one_row(tmp_path: Path) -> None:
    store = Rows(tmp_path / "gpu.jsonl", resume=False)
    told: list[tuple[int, int]] = []
    run = InProcess(store, dies=[0, 3])
    bench_apart.bench_apart(
        plan.plan([], SETTINGS), store, SETTINGS, lambda *at: told.append(at), run
    )
    rows = [*store.last().values()]
    assert [row["status"] for row in rows] == ["failed", *["measured"] * 2, "failed", "measured"]
    assert rows[0]["reason"] == "its process ended with exit code -11"
    assert told[-1] == (5, 5)
    again = InProcess(store)
    bench_apart.bench_apart(plan.plan([], SETTINGS), store, SETTINGS, lambda *_: None, again)
    assert {row["status"] for row in store.last().values()} == {"measured"}
    assert again.lives == 2  # one for each kernel that had a case left


@pytest.mark.usefixtures("numerics")
def test_a_process_that_hangs_costs_one_row(tmp_path: Path) -> None:
    store = Rows(tmp_path / "gpu.jsonl", resume=False)
    run = InProcess(store)

    def hangs(function: Callable[..., Any], *arguments: Any, **rest: Any) -> Any:
        if function is bench_apart.bench_here and arguments[0][0].implementation == "torch SDPA":
            while True:
                rest["watch"]()
        return run(function, *arguments, **rest)

    hurried = Settings(shares=(), patience_seconds=0.05)
    cases = plan.plan([], hurried)
    cases = [*cases[1:], cases[0]]
    bench_apart.bench_apart(cases, store, hurried, lambda *_: None, hangs)
    rows = [*store.last().values()]
    assert [row["status"] for row in rows] == ["failed", "measured", "measured"]
    assert rows[0]["reason"] == "it had no result after 0.05 s"


def test_ceilings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY_BYTES", 4096)
    monkeypatch.setattr(ceilings, "SIDE", 32)
    store = Rows(tmp_path / "gpu.jsonl", resume=False)
    device, target, found = bench_apart.write_ceilings(Fake(), store, SETTINGS)  # type: ignore[arg-type]
    assert (device, target) == ("Fake 100", "sm_90")
    assert found.copy_bytes_per_s == pytest.approx(2 * 4096 / 1e-6)
    assert found.matmul_fp16_flops_per_s == pytest.approx(2 * 32**3 / 1e-6)
    assert store.last()["ceilings"]["matmul_int8_flops_per_s"] == found.matmul_int8_flops_per_s


def test_rates_without_a_ceiling() -> None:
    row = {"median_ns": 1000.0, "dram_bytes": 500, "flops": 2000.0, "unit": "tensor_int8"}
    found = rates(row, Ceilings())
    assert found["bytes_per_s"] == pytest.approx(500e6)
    assert found["flops_per_s"] == pytest.approx(2e9)
    assert found["copy_share"] is None
    assert found["matmul_share"] is None


@pytest.mark.parametrize(
    ("size", "moved", "l2", "free", "count"),
    [
        (10, 10, 100, 10_000, 30),  # three times the cache
        (10, 2, 100, 10_000, 150),  # operands that are not read do not fill it
        (10, 10, 100_000, 10_000_000, 512),  # bound by the number of copies
        (1000, 1000, 100, 100_000, 2),  # larger than the cache: two, that take turns
        (1000, 1000, 100, 3_000, 2),
        (1000, 1000, 100, 100, 1),  # no memory for a second
        (400, 400, 1000, 1_200, 2),
    ],
)
def test_copies(size: int, moved: int, l2: int, free: int, count: int) -> None:
    assert copies(size, moved, l2, free, Settings()) == count


@pytest.mark.parametrize(
    ("device", "label"),
    [
        ("NVIDIA H100 80GB HBM3", "measured:h100"),
        ("NVIDIA A100-SXM4-80GB", "measured:a100"),
        ("Tesla V100-SXM2-16GB", "measured:v100"),
        ("NVIDIA GeForce RTX 3090", "measured:rtx-3090"),
        ("NVIDIA TITAN Xp", "measured:titan-xp"),
    ],
)
def test_labels(device: str, label: str) -> None:
    assert label_of(device) == label


def test_rows_survive(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    store = Rows(path, resume=False)
    store.append({"key": "a", "x": 1})
    store.append({"key": "b"})
    store.append({"key": "a", "x": 2})
    with path.open("a") as file:
        file.write('{"key": "c", "x')  # killed in the middle
    assert [row["key"] for row in read_rows(path)] == ["a", "b", "a"]
    with pytest.raises(InputError, match="must not be there, or --resume be given"):
        Rows(path, resume=False)
    again = Rows(path, resume=True)
    again.append({"key": "d"})
    assert again.last() == {"a": {"key": "a", "x": 2}, "b": {"key": "b"}, "d": {"key": "d"}}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_line_that_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"key": "a"}\nnonsense\n')
    with pytest.raises(InputError, match=r"rows.jsonl line 2 must be a JSON object with a key"):
        read_rows(path)
    assert read_rows(tmp_path / "none.jsonl") == []


@pytest.mark.usefixtures("numerics")
def test_a_control_without_programs_is_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DensePrefill, "programs", lambda *_: [])
    row, *_ = measured(tmp_path, Fake(), ["dense-prefill"])
    assert (row["implementation"], row["beside"]) == ("torch SDPA", False)
    assert (row["programs"], row["sha256"], row["status"]) == ([], "", "measured")


@pytest.mark.usefixtures("numerics")
def test_a_device_that_is_lost_ends_the_process(tmp_path: Path) -> None:
    device = Fake()
    device.broken_at, device.lost = 2, True
    rows = measured(tmp_path, device)
    assert [row["status"] for row in rows] == ["measured", "failed"]
