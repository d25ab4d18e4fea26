"""Run one method at one budget: accuracy, what is kept, and what it costs on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.trace import Trace
from workloads.trace_part import select

if TYPE_CHECKING:
    from algos.base import Method
    from sim.machines.base import BareMachine

TEXTS = 2  # inputs that the machine runs; accuracy is measured on all of them
BUDGET = "keep_ratio"

# what a kind of workload is judged by, and which way is better
MEASURES: dict[str, tuple[str, str]] = {
    "text": ("nats_per_token", "loss, nats a token"),
    "sentences": ("spearman", "Spearman correlation with unpruned similarities"),
    "images": ("top1", "images named right"),
    "questions": ("answer_accuracy", "questions answered right"),
    "contexts": ("answer_kept", "questions whose partner is kept"),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is to be run."""

    method: str
    budget: float | None  # None: the method's own defaults


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all points share."""

    workload: str
    machine: str
    limit: int | None
    seed: int


def decoding(trace: Trace) -> bool:
    """Tell whether a trace has tokens that follow a prompt: then they alone are compared."""
    return bool((trace.array("attention", "step") > 0).any())


def run_point(source: Any, method: Method, machine: BareMachine) -> dict[str, Any]:
    """Return accuracy and costs of one method.

    Raises:
        InputError: the method cannot run at this budget, or on this workload.
    """
    from sim.run import simulate

    trace = source.trace(method, _ignore)
    decoded = decoding(trace)
    work = select(trace, TEXTS, "decode" if decoded else "whole")
    row = simulate(work, machine, 0).row
    return {
        **trace.header.accuracy,
        "part": "decoding" if decoded else "whole",
        "offered": offered_share(work),
        "dram_bytes": row["dram_transferred_bytes"],
        "cycles": row["cycles"],
        "energy_pj": row["energy_pj"],
    }


def offered_share(trace: Trace) -> float:
    """Return the bytes of Q, K and V that are left, as a share of the unpruned ones.

    All kinds of sparsity count, also those that a machine may not exploit.
    """
    from sim.operations import KINDS, sparsity_table

    table = sparsity_table(trace, KINDS, 12)
    bytes_ = table[table["quantity"] == "DRAM bytes"]
    dense = float(bytes_["dense"].iloc[0])
    return 1 - float(bytes_["offered"].sum()) / dense


def _ignore(_done: int, _of: int) -> None:
    pass


def check_budgets(budgets: list[float]) -> None:
    """Refuse budgets that are none.

    Raises:
        InputError: none, or one outside of 0 to 1.
    """
    if not budgets:
        raise InputError("budgets must be at least 1 number, there is none")
    for budget in budgets:
        if not 0 < budget <= 1:
            raise InputError(f"a budget must be above 0 and at most 1, not {budget:g}")
