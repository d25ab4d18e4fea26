"""Times of chains: sums, the fastest way, what is missing, what was measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from algos.kernels import make_kernel
from algos.kernels.plan import size_of
from reports.gpu.baselines.timing import Timer
from reports.gpu.lower import LIBRARY, STREAM, Call, Chain, Operation
from reports.gpu.modelled import modelled_ns
from workloads.errors import InputError

COPY = Call(STREAM, (("read_bytes", 4000), ("written_bytes", 4000)))
LARGE = Call(STREAM, (("read_bytes", 4_000_000), ("written_bytes", 4_000_000)))
PRODUCT = Call(LIBRARY, (("m", 1), ("n", 4096), ("k", 4096)))


def paper_call(kernel: str, label: str) -> Call:
    shape = make_kernel(kernel).papers[label]
    return Call(kernel, tuple(shape.model_dump().items()))


DECODE = paper_call("dense-decode", "llama-2-7b-1024")


def chain(*operations: tuple[int, tuple[Call, ...]], missing: tuple[str, ...] = ()) -> Chain:
    named = {Operation(str(at), ways): times for at, (times, ways) in enumerate(operations)}
    return Chain(named, missing, ("a note",))


def measured(call: Call, median_ns: float, **facts: Any) -> dict[str, Any]:
    kernel = make_kernel(call.kernel)
    size = size_of(type(next(iter(kernel.papers.values())))(**call.numbers))
    row = {"label": "measured:a100", "kernel": call.kernel, "size": size, "share": None}
    return {**row, "implementation": "prunesim", "median_ns": median_ns, **facts}


def test_a_chain_is_the_sum_of_its_kernels() -> None:
    timer = Timer("a100", [])
    one = timer.time(chain((1, (DECODE,)), (1, (COPY,))))
    three = timer.time(chain((3, (DECODE,)), (1, (COPY,))))
    kernel = make_kernel("dense-decode")
    alone = modelled_ns(kernel, kernel.papers["llama-2-7b-1024"], "a100")
    assert one.ns is not None
    assert three.ns is not None
    assert alone is not None
    assert three.ns - one.ns == pytest.approx(2 * alone)
    assert (one.launches, three.launches) == (3, 7), "a decode is two launches"
    assert three.kernels == {"dense-decode": 3, STREAM: 1}
    assert one.label == "modelled:a100"
    assert one.notes == ("a note",)


def test_the_fastest_way_counts() -> None:
    timer = Timer("a100", [])
    found = timer.time(chain((2, (LARGE, COPY))))
    assert found.ns == pytest.approx(2 * timer.time(chain((1, (COPY,)))).ns)
    assert found.dram_bytes == 16_000


def test_what_is_missing_leaves_no_time() -> None:
    timer = Timer("a100", [])
    found = timer.time(chain((1, (COPY,)), (1, ()), missing=("attention: no kernel",)))
    assert found.ns is None
    assert found.dram_bytes is None
    assert found.notes == ("not timed: attention: no kernel", "a note")


def test_a_way_that_does_not_run_is_told() -> None:
    odd = Call("dense-decode", (("heads", 32), ("kv_heads", 32), ("keys", 64), ("dim", 48)))
    timer = Timer("a100", [])
    with_other = timer.time(chain((1, (odd, COPY))))
    assert with_other.ns == timer.time(chain((1, (COPY,)))).ns
    assert any("dim must be one of" in note for note in with_other.notes)
    assert timer.time(chain((1, (odd,)))).ns is None


def test_weights_that_do_not_fit() -> None:
    found = Timer("titan-xp", []).time(chain((1, (COPY,))), held_bytes=13_500_000_000)
    assert found.ns is None
    assert found.notes[0].startswith(
        "not timed: 13.5 GB of weights, K and V do not fit the 12 GB of TITAN Xp"
    )
    assert "sm_80" in found.notes[-1]


def test_sparse_matrix_units() -> None:
    gemv = paper_call("w2a8-gemv", "llama-2-7b-up-1")
    assert Timer("a100", []).time(chain((1, (gemv,)))).ns
    old = Timer("titan-xp", []).time(chain((1, (gemv,))))
    assert old.ns is None
    assert "w2a8-gemv must have sparse matrix units, TITAN Xp has none" in old.notes[0]


def test_measured_kernels_take_the_place_of_modelled_ones() -> None:
    size = json.dumps({"inputs": 4096, "rows": 4096, "tokens": 1}, separators=(",", ":"))
    product = {**measured(DECODE, 500.0), "kernel": "dense-gemv", "size": size, "energy_pj": 2e6}
    rows = [measured(DECODE, 1000.0, energy_pj=3e6), product]
    found = Timer("a100", rows).time(chain((2, (DECODE,)), (1, (PRODUCT,))))
    assert found.label == "measured:a100"
    assert found.ns == 2500.0
    assert found.energy_pj == 8e6
    assert Timer("h100", rows).time(chain((1, (DECODE,)))).kind == "modelled"


def test_measured_and_modelled_are_not_added() -> None:
    rows = [measured(DECODE, 1.0)]
    mixed = chain((1, (DECODE,)), (1, (COPY,)))
    found = Timer("a100", rows).time(mixed)
    assert found.kind == "modelled"
    assert found.ns == Timer("a100", []).time(mixed).ns
    assert found.energy_pj is None
    assert "1 of 2 different kernel calls were measured" in found.notes[-1]


def test_unknown_device() -> None:
    with pytest.raises(InputError, match="did you mean 'h100'"):
        Timer("h10")
