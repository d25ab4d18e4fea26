"""`prunesim attention`: where the heads of a tiny model look, on what it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.console import Phases, print_json, print_line, print_table
from reports.summary import TextTable
from workloads.config import unknown_name
from workloads.errors import InputError

MODELS = ("tiny-decoder", "tiny-moe", "tiny-vit", "tiny-vlm")
_WINDOWS, _CANVASES = 4, 32
_KINDS = (".svg", ".png")


def run_attention(model: str, out: Path | None, *, visible: bool) -> dict[str, Any]:
    """Measure a model's heads and, if wanted, draw them.

    Returns:
        The model, what it read, and its measures: plain values, layer by layer and head by head.

    Raises:
        InputError: no such model, or a figure of another kind than SVG or PNG.
    """
    if model not in MODELS:
        raise InputError(unknown_name("model", model, MODELS))
    if out is not None and out.suffix not in _KINDS:
        raise InputError(f"figure must be a file of {' or '.join(_KINDS)}, not {out}")
    with Phases(visible) as phase:
        with phase("measure the heads"):
            read, measured = _measured(model)
        found = {
            "model": model,
            "read": read,
            "measures": [
                {
                    "part": m.part,
                    "name": m.name,
                    "label": m.label,
                    "even": m.even,
                    "values": m.values,
                }
                for m in measured
            ],
        }
        if out is not None:
            from reports.attention_figure import draw_attention
            from reports.figures.style import save

            with phase("draw them"):
                save(draw_attention(found), out)
    return found


def show_attention(found: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Print, for each measure, the mean of all heads, the highest head and where it is."""
    if as_json:
        print_json(found)
        return
    rows = [_row(measure) for measure in found["measures"]]
    columns = ["part", "measure", "even attention", "mean", "lowest", "highest", "layer.head"]
    print_line(f"{found['model']} on {found['read']}")
    print_table(TextTable(columns, rows, [False, False, True, True, True, True, False]))
    if out is not None:
        print_line(f"figure: {out}")


def _row(measure: dict[str, Any]) -> list[str]:
    heads = {
        f"{layer}.{head}": value
        for layer, values in enumerate(measure["values"])
        for head, value in enumerate(values)
    }
    highest = max(heads, key=lambda place: heads[place])
    even = "" if measure["even"] is None else f"{measure['even']:.3f}"
    mean = sum(heads.values()) / len(heads)
    numbers = [f"{value:.3f}" for value in (mean, min(heads.values()), heads[highest])]
    return [measure["part"], measure["label"], even, *numbers, highest]


def _measured(model: str) -> tuple[str, Any]:
    from workloads.attention_structure import measure_decoder, measure_vit, measure_vlm
    from workloads.models import load_decoder
    from workloads.text import held_out
    from workloads.tiny_models import load_moe, load_vit, load_vlm

    if model == "tiny-vit":
        return f"{_CANVASES} held-out digits", measure_vit(load_vit().model, _CANVASES)
    if model == "tiny-vlm":
        read = f"{_CANVASES} held-out canvases, each with four questions about quadrants"
        return read, measure_vlm(load_vlm(), _CANVASES)
    loaded = load_decoder() if model == "tiny-decoder" else load_moe()
    windows = held_out(loaded, None, _WINDOWS)
    read = f"{len(windows)} held-out windows of {windows.shape[1]} bytes"
    return read, measure_decoder(loaded.model, windows)
