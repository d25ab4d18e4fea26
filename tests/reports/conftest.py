"""Results with plausible numbers, made without a model and without a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import blocks
from sim.result import Result, save_results

KEPT = {"dense": 1.0, "random": 0.6, "spatten": 0.6}  # share of tokens in the last layer
ACCURACY = {
    "dense": {"spearman": 0.999, "similarity_cosine": 0.9995, "top1_agreement": 1.0},
    "random": {"spearman": 0.71, "similarity_cosine": 0.89, "top1_agreement": 0.62},
    "spatten": {"spearman": 0.958, "similarity_cosine": 0.981, "top1_agreement": 0.93},
}
MACHINE_CONFIG = {"clock_hz": 1_000_000_000, "lanes": 8, "topk": {"comparators": 16}}


def fake_result(method: str, machine: str, *, layers: int = 6, lsb: bool = True) -> Result:
    """Return one plausible result; pruning gains less on the machine that exploits less."""
    exploits = machine != "dense"
    depth = np.linspace(0, 1, layers) if layers > 1 else np.zeros(1)
    share = 1 - (1 - KEPT[method]) * depth
    used = share if exploits else np.ones(layers)
    per_layer = 60_000 * used**2
    dense_bytes = 590_000.0
    k_bits = 8 / 12 if method == "spatten" and exploits else 1.0
    moved = {
        ("Q", "MSB"): dense_bytes * used.sum(),
        ("K", "MSB"): dense_bytes * used.sum() * k_bits,
        ("K", "LSB"): dense_bytes * used.sum() * 0.04 * (k_bits < 1) * lsb,
        ("V", "MSB"): dense_bytes * used.sum() * k_bits * (0.8 if k_bits < 1 else 1),
    }
    cycles = int(per_layer.sum())
    transferred = int(sum(moved.values()))
    multiplications = int((per_layer * 900).sum())
    tables = {
        "layers": _layers(per_layer, share, transferred, multiplications, method),
        "units": _units(cycles, exploits),
        "traffic": pd.DataFrame(
            [
                (tensor, plane, int(size * 0.97), int(size), int(dense_bytes * layers))
                for (tensor, plane), size in moved.items()
            ],
            columns=["tensor", "plane", "useful_bytes", "transferred_bytes", "dense_bytes"],
        ),
        "events": pd.DataFrame(
            [(layer, "multiply", 1000) for layer in range(layers)],
            columns=["layer", "event", "count"],
        ),
        "energy": _energy(cycles, transferred, multiplications),
        "area": _area(),
        "sparsity": _sparsity(method, exploits, multiplications, transferred),
        "timeline": _timeline(),
    }
    energy_pj = float(tables["energy"]["energy_pj"].sum())
    row: dict[str, Any] = {
        "workload": "minilm-sentences",
        "synthetic": False,
        "model": "minilm-l6",
        "method": method,
        "parameters": json.dumps({"token_keep": KEPT[method]}),
        "seed": 0,
        "machine": machine,
        "config": json.dumps(MACHINE_CONFIG),
        "config_hash": "0123456789ab",
        "prunesim_version": "0.1.0",
        "sequences": 64,
        "queries": 64 * 24 * 12 * layers,
        "clock_hz": 1_000_000_000,
        "cycles": cycles,
        "latency_ns": float(cycles),
        "bound_compute_cycles": int(cycles * 0.8),
        "bound_bandwidth_cycles": int(transferred / 512),
        "multiplications": multiplications,
        "multiplications_dense": 60_000 * 900 * layers,
        "throughput_gops": 2 * multiplications / cycles,
        "operational_intensity": 2 * multiplications / transferred,
        "peak_gops": 2048.0,
        "peak_gb_per_s": 512.0,
        "dram_useful_bytes": int(transferred * 0.97),
        "dram_transferred_bytes": transferred,
        "dram_requests": transferred // 32,
        "dram_row_hits": transferred // 40,
        "dram_activates": transferred // 400,
        "dram_gb_per_s": transferred / cycles,
        "energy_pj": energy_pj,
        "area_mm2": float(tables["area"]["area_mm2"].sum()),
        "power_w": energy_pj / cycles / 1000,
        "topk_data": "recorded" if exploits else "none",
        "ideal": "" if exploits else "IdealSoftmax",
    }
    row |= {f"accuracy_{name}": value for name, value in ACCURACY[method].items()}
    return Result(row, tables)


def _layers(
    per_layer: np.ndarray, share: np.ndarray, transferred: int, multiplications: int, method: str
) -> pd.DataFrame:
    layers = len(per_layer)
    heads = np.linspace(12, 12 if method == "dense" else 9, layers).round()
    return pd.DataFrame(
        {
            "layer": np.arange(layers),
            "cycles": per_layer.astype(int),
            "tokens_alive": 24.3 * share,
            "tokens_dense": 24.3,
            "heads_alive": heads,
            "heads_dense": 12.0,
            "multiplications": (per_layer / per_layer.sum() * multiplications).astype(int),
            "dram_transferred_bytes": (per_layer / per_layer.sum() * transferred).astype(int),
            "energy_pj": per_layer * 900,
        }
    )


def _units(cycles: int, exploits: bool) -> pd.DataFrame:
    shares = {
        "fetch": {"busy": 0.55, "wait for DRAM": 0.4, "layer boundary": 0.05},
        "Q.K": {"busy": 0.72, "wait for DRAM": 0.2, "layer boundary": 0.08},
        "softmax": {"busy": 0.7, "wait upstream": 0.22, "layer boundary": 0.08},
        "topk": {"busy": 0.35 if exploits else 0.0, "wait upstream": 0.45, "layer boundary": 0.2},
        "Prob.V": {"busy": 0.6, "blocked downstream": 0.25, "layer boundary": 0.15},
    }
    rows = []
    for unit, states in shares.items():
        total = sum(states.values())
        counts = [round(cycles * share / total) for share in states.values()]
        counts[-1] += cycles - sum(counts)
        rows += [(unit, state, count) for state, count in zip(states, counts, strict=True)]
    return pd.DataFrame(rows, columns=["unit", "state", "cycles"])


def _energy(cycles: int, transferred: int, multiplications: int) -> pd.DataFrame:
    parts = [
        (
            "DRAM",
            "dram",
            "dram_bit",
            transferred * 8,
            3.9,
            "O'Connor et al., MICRO 2017, table 1",
            16,
        ),
        ("K/V SRAM", "sram", "sram_read_bit", transferred * 40, 0.02, "CACTI 7 run", 40),
        (
            "multipliers",
            "logic",
            "multiply_12",
            multiplications,
            0.44,
            "Horowitz, ISSCC 2014, figure",
            45,
        ),
        ("softmax", "logic", "exp", cycles * 3, 18.0, "Galal and Horowitz 2011", 45),
        ("top-k", "logic", "compare_12", cycles * 16, 0.03, "scaled from a 32-bit comparator", 40),
        ("static", "static", "leakage_cycle", cycles, 50.0, "assumed share of dynamic power", 40),
    ]
    return pd.DataFrame(
        [
            (part, group, event, count, pj, count * pj, source, node, "assumed" in source)
            for part, group, event, count, pj, source, node in parts
        ],
        columns=[
            "component",
            "group",
            "event",
            "count",
            "pj_per_event",
            "energy_pj",
            "source",
            "node_nm",
            "estimate",
        ],
    )


def _area() -> pd.DataFrame:
    parts = [("multipliers", "logic", 0.9, True), ("K SRAM", "sram", 1.7, False)]
    return pd.DataFrame(
        [(name, group, mm2, "a source", 40.0, estimate) for name, group, mm2, estimate in parts],
        columns=["component", "group", "area_mm2", "source", "node_nm", "estimate"],
    )


def _sparsity(method: str, exploits: bool, mults: int, transferred: int) -> pd.DataFrame:
    offered = {"token": 0.42, "head": 0.12, "value": 0.1, "precision": 0.3}
    rows = []
    for kind, share in offered.items():
        for quantity, dense in (("multiplications", mults), ("DRAM bytes", transferred)):
            if kind == "precision" and quantity == "multiplications":
                continue
            amount = int(dense * share) if method != "dense" else 0
            used = amount if exploits else (amount // 2 if kind == "token" else 0)
            rows.append((kind, quantity, dense, amount, used))
    return pd.DataFrame(rows, columns=["kind", "quantity", "dense", "offered", "exploited"])


def _timeline() -> pd.DataFrame:
    rows = [
        ("fetch", "K 0", 0, 100),
        ("fetch", "K 1", 60, 150),
        ("Q.K", "query 0", 100, 140),
        ("Q.K", "query 1", 140, 180),
        ("Prob.V", "query 0", 150, 200),
    ]
    return pd.DataFrame(rows, columns=["unit", "name", "start_cycle", "end_cycle"])


def fake_run(folder: Path, results: list[Result], **info: Any) -> Path:
    """Write a run folder as the command line leaves it."""
    save_results(results, folder)
    first = results[-1].row
    described = {
        "prunesim": "0.1.0",
        "status": "finished",
        "command": ["prunesim", "run"],
        "workload": first["workload"],
        "method": "spatten",
        "machine": "spatten",
        "machines": {
            "spatten": {
                "description": "SpAtten at the paper's configuration",
                "fidelity": ["Attention only: the feed-forward layers are not simulated."],
                "fields": {"clock_hz": "clock, Hz", "topk.comparators": "in each array"},
            }
        },
        "platform": {"python": "3.11", "cores": 2},
        "versions": {"numpy": "2"},
        "phases_s": {"model": 1.5, "simulate": 0.4},
    }
    (folder / "run.json").write_text(json.dumps(described | info))
    return folder


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return fake_result


@pytest.fixture
def make_run() -> Callable[..., Path]:
    return fake_run


@pytest.fixture
def fake_results() -> list[Result]:
    """Three methods on two machines."""
    return [
        fake_result(method, machine)
        for machine in ("spatten", "dense")
        for method in ("dense", "random", "spatten")
    ]


@pytest.fixture
def run_folder(tmp_path: Path, fake_results: list[Result]) -> Path:
    return fake_run(tmp_path / "run", fake_results)


@pytest.fixture
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a copy of the record in place of it, which a test may change."""
    path = tmp_path / "data" / "blocks.json"
    path.parent.mkdir()
    path.write_text(blocks.RECORD.read_text("utf-8"))
    monkeypatch.setattr(blocks, "RECORD", path)
    return path
