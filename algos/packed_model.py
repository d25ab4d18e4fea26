"""A compressed decoder on disk: byte streams as hardware reads them, and what they are.

`packed.safetensors` has one uint8 tensor (beats, 64) a layer, as `workloads.packed.pack` makes
it; `packed.json` says the model, and format, rows and columns of each layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.errors import InputError
from workloads.packed import PackedMatrix, WeightFormat, pack, unpack

TENSORS, DESCRIPTION = "packed.safetensors", "packed.json"


def save_packed(folder: Path, model: str, layers: Mapping[str, PackedMatrix]) -> None:
    """Write both files into an existing folder."""
    from safetensors.numpy import save_file

    save_file({name: pack(matrix) for name, matrix in layers.items()}, folder / TENSORS)
    described = {
        name: {
            "format": matrix.format.model_dump(),
            "rows": matrix.rows,
            "columns": matrix.columns,
        }
        for name, matrix in layers.items()
    }
    text = json.dumps({"model": model, "layers": described}, indent=2)
    (folder / DESCRIPTION).write_text(text + "\n", "utf-8")


def load_packed(folder: Path) -> dict[str, PackedMatrix]:
    """Read what `save_packed` wrote.

    Raises:
        InputError: a file is missing, is damaged, or does not fit the other one.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        described: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))["layers"]
        streams = load_file(folder / TENSORS)
        return {
            name: unpack(
                streams[name], WeightFormat(**layer["format"]), layer["rows"], layer["columns"]
            )
            for name, layer in described.items()
        }
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"packed model {folder} must be readable: {error}") from error
