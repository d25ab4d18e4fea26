"""Rows of all machines: complete, labelled, and with ratios of the same device."""

from __future__ import annotations

from typing import Any

import pytest

from reports.gpu.baselines.cpu import cpu_rows
from reports.gpu.baselines.page import Baselines
from reports.gpu.baselines.ratios import COLUMNS as RATIO_COLUMNS
from reports.gpu.baselines.rows import COLUMNS, NO_ENERGY, held_bytes
from reports.gpu.baselines.tables import rows_table
from reports.gpu.baselines.workloads import WORKLOADS

BY_NAME = {workload.name: workload for workload in WORKLOADS}


def test_columns(found: Baselines) -> None:
    assert list(found.rows) == list(COLUMNS)
    assert list(found.ratios) == list(RATIO_COLUMNS)
    keys = ["workload", "machine", "work", "device", "quantity", "unit"]
    assert not found.rows.duplicated(keys).any()


def test_simulated_rows_are_complete(found: Baselines) -> None:
    rows = found.rows[found.rows["kind"] == "simulated"]
    assert {"spatten", "a3", "mnnfast", "dense", "accllm-u280", "flightllm-u280"} == {
        *rows["machine"]
    }
    numbers = rows[["latency_ns", "units_per_s", "energy_pj", "power_w", "dram_bytes"]]
    assert numbers.notna().all().all()
    assert rows["synthetic"].all()


def test_modelled_rows_carry_the_models_deviation(found: Baselines) -> None:
    rows = found.rows[found.rows["kind"] == "modelled"]
    assert {"modelled:a100", "modelled:titan-xp"} == {*rows["machine"]}
    assert (rows["model_median_deviation"] == found.model["median_deviation"]).all()
    assert (rows["model_ninth_decile_deviation"] == found.model["ninth_decile_deviation"]).all()
    assert rows["energy_pj"].isna().all()
    assert rows["note"].str.contains("energy: absent").all()
    assert (rows["launched"] == "CUDA graph").all()
    others = found.rows[found.rows["kind"] != "modelled"]
    assert others["model_median_deviation"].isna().all()


def test_a_time_or_the_reason_why_there_is_none(found: Baselines) -> None:
    rows = found.rows[found.rows["kind"].isin(["simulated", "modelled"])]
    untimed = rows["latency_ns"].isna()
    assert rows.loc[untimed, "note"].str.startswith("not ").all()
    assert not rows.loc[~untimed, "note"].str.startswith("not ").any()
    a100 = rows[rows["machine"] == "modelled:a100"]
    assert a100[["latency_ns", "dram_bytes", "times_faster_than_dense"]].notna().all().all()
    llama = rows["workload"].str.startswith("llama") & (rows["device"] == "titan-xp")
    assert rows.loc[llama, "latency_ns"].isna().all(), "13 GB do not fit 12"


def test_ratios_are_of_the_same_device(found: Baselines) -> None:
    rows = found.rows[found.rows["machine"] == "modelled:a100"]
    for _, own in rows.groupby("workload"):
        by_work = own.set_index("work")
        dense, sparse = by_work.loc["dense"], by_work.loc["sparse"]
        assert dense["times_faster_than_dense"] == sparse["times_faster_than_sparse"] == 1
        assert sparse["times_faster_than_dense"] == pytest.approx(
            dense["latency_ns"] / sparse["latency_ns"]
        )
    for ratio in found.ratios.to_dict("records"):
        own = found.rows[found.rows["workload"] == ratio["workload"]]
        machine = own.loc[own["machine"] == ratio["machine"], "latency_ns"].iloc[0]
        gpu = own[(own["device"] == ratio["device"]) & (own["work"] == "dense")]
        assert ratio["machine_ns"] == machine
        assert ratio["times_dense"] == pytest.approx(
            gpu["latency_ns"].iloc[0] / machine, nan_ok=True
        )


def test_published_pytorch_stands_beside_its_own_gpu(found: Baselines) -> None:
    known = found.ratios[found.ratios["times_pytorch"].notna()]
    assert {*zip(known["workload"], known["device"], strict=True)} == {
        ("gpt2-medium-1024", "titan-xp"),
        ("llama-2-7b-1024", "a100"),
    }
    titan = known[known["device"] == "titan-xp"].iloc[0]
    assert titan["pytorch_ns"] == pytest.approx(366.7e6 / 32)


def test_published_parts_are_added() -> None:
    from reports.gpu.baselines.rows import _of_papers

    rows = [*_of_papers(BY_NAME["gpt2-medium-1024-whole"])]
    by_machine = {row["machine"]: row for row in rows}
    assert by_machine["PyTorch, dense"]["latency_ns"] == pytest.approx((366.7 + 388.3) * 1e6 / 32)
    assert by_machine["PyTorch, dense"]["value"] == pytest.approx(755.0)
    assert by_machine["SpAtten-e2e"]["latency_ns"] == pytest.approx((2.13 + 25.75) * 1e6 / 32)


def test_published_sources(found: Baselines) -> None:
    rows = found.rows[found.rows["kind"] == "published"]
    assert rows["source"].str.len().gt(10).all()
    assert rows["basis"].isin(["measured by the authors", "simulated by the authors"]).all()
    over_many = rows[~rows["workload"].isin([*BY_NAME])]
    assert {*over_many["workload"]} == {"all", "bert", "gpt2", "gpt2-medium-token"}
    assert over_many["latency_ns"].isna().all()
    assert over_many["value"].notna().all()


def test_held_bytes() -> None:
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11_008) + 4096 * 32_000
    cache = 2 * 32 * 32 * 1024 * 128
    assert held_bytes(BY_NAME["llama-2-7b-1024"].trace()) == 2 * (weights + cache)


def cpu_row(kernel: str, sparsity: float, median_ns: float) -> dict[str, Any]:
    row = {"label": "measured:cpu", "cpu": "a CPU", "threads": 2, "shape": "gpt2-small-decode-1024"}
    row |= {"kernel": kernel, "sparsity": sparsity, "median_ns": median_ns, "note": "shared"}
    return {**row, "p10_ns": median_ns / 2, "p90_ns": 3 * median_ns}


def test_cpu_rows_are_sums_of_measured_layers() -> None:
    gathered = {0.0996: 90.0, 0.2998: 70.0, 0.7998: 20.0, 0.9004: 10.0}
    rows = [cpu_row("cpu-dense-attention", 0.0, 100.0)]
    rows += [cpu_row("cpu-gathered-tokens", share, ns) for share, ns in gathered.items()]
    rows += [{**cpu_row("cpu-dense-attention", 0.0, 7.0), "threads": 1}]
    trace = BY_NAME["gpt2-small-1024"].trace()
    dense, sparse, other = cpu_rows("gpt2-small-1024", trace, rows)
    assert (dense["machine"], dense["device"]) == ("measured:cpu", "a CPU, 2 threads")
    assert dense["latency_ns"] == 12 * 100
    assert "10th to 90th percentile 600 ns to 3.60 µs; shared" in dense["note"]
    assert sparse["latency_ns"] == 90 + 70 + 4 * 20 + 6 * 10
    assert (other["device"], other["latency_ns"]) == ("a CPU, 1 thread", 84)
    assert not [*cpu_rows("llama-2-7b-1024", trace, rows)]


def test_a_line_says_only_what_the_page_does_not_say_above(found: Baselines) -> None:
    assumed = "ratios assumed; heads to 80 %"
    rows = found.rows[found.rows["kind"] == "modelled"].head(1)
    line = rows_table(rows.assign(note=f"one; {assumed}; {NO_ENERGY}; two"), assumed).rows[0]
    assert line[-1].endswith("one; two")
    assert line[1].startswith("modelled (")  # the deviation stands beside the number
    assert line[1].count("%") == 2
