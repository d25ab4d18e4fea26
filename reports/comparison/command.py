"""From the options of `prunesim compare` to its table and figure."""

from __future__ import annotations

from pathlib import Path

from reports.comparison.job import Comparison, compare
from reports.comparison.points import Setting
from reports.comparison.show import show
from reports.run_folder import cores
from workloads.errors import InputError
from workloads.tasks import WORKLOADS


def run_comparison(
    *,
    family: str,
    workload: str,
    machine: str,
    budgets: str,
    methods: str,
    limit: int | None,
    seed: int,
    jobs: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Run a comparison and show it.

    Raises:
        InputError: a user's mistake.
        Interrupted: the user stopped it.
    """
    job = Comparison(
        family=family,
        setting=Setting(workload=workload, machine=machine, limit=limit, seed=seed),
        budgets=_numbers(budgets),
        methods=[name for name in methods.split(",") if name],
        jobs=jobs or cores(),
        out=out,
    )
    table = compare(job, visible=not as_json)
    title = f"{family} methods on {workload}, {table['part'].iloc[0]}, on {machine}"
    show(table, WORKLOADS[workload].kind, out, title, as_json=as_json)


def _numbers(text: str) -> list[float]:
    found = []
    for word in text.split(","):
        try:
            found.append(float(word))
        except ValueError:
            raise InputError(
                f"budgets must be numbers with commas between them, not {word!r}"
            ) from None
    return found
