"""`prunesim ladder`: what each step of compressing a decoder costs in perplexity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.console import Phases, print_json, print_line, print_table
from reports.summary import TextTable
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.ladder import Ladder

SAMPLES = 8  # of calibration text, each as long as a window
TABLE, FIGURE = "ladder.csv", "ladder.svg"


@dataclass(frozen=True, kw_only=True)
class LadderJob:
    """What the user asked for."""

    model: str | None  # folder of a checkpoint; None: the tiny decoder
    prune: str
    text: Path | None  # held out; None: the tiny decoder's own
    calibration: Path | None  # None: source of Python's library
    windows: int
    sinks: int
    recent: int
    integers: int  # tokens of the first window that also run in the engine's integers; 0: none
    out: Path | None


def run_ladder(job: LadderJob, *, visible: bool) -> dict[str, Any]:
    """Measure the ladder and, if wanted, write table, figure and packed weights.

    Returns:
        What was measured and on what: plain values.

    Raises:
        InputError: a wrong option, model or text.
    """
    from algos.attention.sink_window import SinkWindow
    from algos.compress import Compression
    from algos.ladder import climb
    from workloads.models import load_decoder

    if job.integers == 1:
        raise InputError("integers must be 0 or at least 2 tokens, not 1")
    window = SinkWindow(sinks=job.sinks, recent=job.recent)
    prune = Compression(**{"prune": job.prune}).prune
    with Phases(visible) as phase:
        with phase("load the model"):
            loaded = load_decoder(job.model)
            held_out, calibration = _tokens(job, loaded)
        with phase("climb the ladder") as update:
            ladder = climb(
                loaded, held_out, calibration, prune=prune, window=window, progress=update
            )
        seconds = round(phase.seconds["climb the ladder"], 1)
        compared = None
        if job.integers:
            from reports.golden import compare_passes

            with phase("run in integers"):
                first = held_out[0].numpy()[: job.integers]
                compared = compare_passes(loaded, ladder.packed, first, window)
    found = {
        "model": loaded.name,
        "prune": prune,
        "windows": len(held_out),
        "tokens": held_out.shape[1],
        "sinks": job.sinks,
        "recent": job.recent,
        "rungs": [asdict(rung) for rung in ladder.rungs],
        "chance": asdict(ladder.chance),
        "integers": compared,
        "seconds": seconds,
    }
    if job.out is not None:
        _write(job.out, found, ladder)
    return found


def show_ladder(found: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Print the table and what it was measured on."""
    if as_json:
        print_json(found)
        return
    rows = [
        [
            rung["step"],
            f"{rung['nats_per_token']:.4f}",
            f"{rung['perplexity']:.3f}",
            "" if rung["bits_per_weight"] is None else f"{rung['bits_per_weight']:.3f}",
        ]
        for rung in _lines(found)
    ]
    columns = ["step", "nats per token", "perplexity", "bits per weight"]
    print_line(
        f"{found['model']}, pruned by {found['prune']}, on {found['windows']} held-out windows of "
        f"{found['tokens']} tokens"
    )
    print_table(TextTable(columns, rows, [False, True, True, True]))
    if (both := found["integers"]) is not None:
        print_line(
            f"first {both['tokens']} tokens, nats a token: {both['torch_nats']:.4f} in torch, "
            f"{both['integer_nats']:.4f} in the engine's integers; the same next token expected "
            f"behind {both['same_top1']:.1%}"
        )
    print_line(f"{found['seconds']} s" + (f"   table, figure, weights: {out}" if out else ""))


def _lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all lines of the table; the control stands beside the step it is the control of."""
    first, second, *rest = found["rungs"]
    return [first, found["chance"], second, *rest]


def _tokens(job: LadderJob, loaded: Any) -> tuple[Any, Any]:
    import torch

    from workloads.text import held_out, library_text, samples

    windows = held_out(loaded, job.text, job.windows)
    text = library_text() if job.calibration is None else job.calibration.read_bytes()
    drawn = samples(loaded, text, SAMPLES, windows.shape[1])
    return torch.from_numpy(windows.copy()), torch.from_numpy(drawn)


def _write(folder: Path, found: dict[str, Any], ladder: Ladder) -> None:
    import pandas as pd

    from algos.packed_model import save_packed
    from reports.figures.style import save
    from reports.ladder_figure import draw_ladder

    folder.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame(_lines(found))
    rows.insert(0, "model", found["model"])
    rows.insert(1, "prune", found["prune"])
    rows.to_csv(folder / TABLE, index=False)
    save(draw_ladder(rows), folder / FIGURE)
    save_packed(folder, found["model"], ladder.packed)
