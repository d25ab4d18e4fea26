"""Workloads of the SpAtten authors' format, made on the spot."""

from collections.abc import Callable

import pandas as pd
import pytest

from workloads.spatten_csv import SpattenCsv
from workloads.spatten_trace import to_trace
from workloads.trace import Trace

MakeCsv = Callable[..., SpattenCsv]


@pytest.fixture(scope="session")
def make_csv() -> MakeCsv:
    """Return a function: rows of (keys, values, bits = 8) become a workload of one layer."""

    def make(rows: list[tuple[int, ...]], needs_lsbs: bool = False, head_dim: int = 64):
        frame = pd.DataFrame(
            [
                {
                    "iteration_id": 0,
                    "layer_id": 0,
                    "head_id": head,
                    "embedding_length_D": float(head_dim),
                    "sentence_length_L": max(row[0] for row in rows),
                    "key_fetch_num": row[0],
                    "quant_key_bit": row[2] if len(row) > 2 else 8,
                    "quant_query_bit": -1,
                    "auto_requant_thres": -1.0,
                    "if_requant": needs_lsbs,
                    "auto_requant_incre": -1,
                    "value_fetch_num": row[1],
                    "quant_value_bit": min(row[2] if len(row) > 2 else 8, 12),
                    "if_accumulate_importance": False,
                    "if_rescale_previous_importance": False,
                    "if_topk": False,
                    "topk": -1,
                }
                for head, row in enumerate(rows)
            ]
        )
        return SpattenCsv(frame)

    return make


@pytest.fixture(scope="session")
def csv_trace(make_csv: MakeCsv) -> Callable[..., Trace]:
    """Return a function as `make_csv` whose workload is a trace already."""

    def make(*rows, **settings):
        return to_trace(make_csv(*rows, **settings), "rows")

    return make
