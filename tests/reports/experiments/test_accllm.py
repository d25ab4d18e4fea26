"""AccLLM's page: what it compares, what it meets, and that its figures are drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.experiments import accllm
from reports.experiments.accllm.figures import Point, together
from reports.experiments.accllm.memory import LAYOUTS, weight_bytes
from reports.experiments.accllm.workloads import LLAMA, traces
from reports.reproduction import reproduce
from workloads.errors import InputError
from workloads.packed import WeightFormat


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return the claims of the whole reproduction, with its folder."""
    out = tmp_path_factory.mktemp("accllm")
    claims = reproduce("accllm", out, None, visible=False).table
    claims.attrs["folder"] = str(out)
    return claims


@pytest.mark.fidelity
def test_published_values(table: pd.DataFrame) -> None:
    rows = table.set_index(["section", "quantity"])
    assert not table["verdict"].isin(["off", "fails"]).any()
    near = table.loc[table["verdict"] == "near", "quantity"].tolist()
    # the first is explained by the engine's cycles, the others by what is not built
    assert near == ["+ 2-bit weights", "DSP48E2 of 32 slices of 64", "LUT of 32 slices of 64"]
    assert rows.loc[("Decoding", "decoding at 512 keys"), "ours"] == pytest.approx(160.0, abs=0.1)
    rival = "throughput of accllm-u280 over flightllm-u280"
    assert rows.loc[("Against FlightLLM", rival), "ratio"] == pytest.approx(1.0, abs=0.15)


def test_resources_are_those_of_the_record(table: pd.DataFrame) -> None:
    from reports.blocks import read_record

    rows = table.set_index("quantity")
    slice_ = read_record()["w2a8kv4"]["variants"][0]
    assert slice_["size"]["dsps"] == 64
    assert rows.loc["LUT of 32 slices of 64", "ours"] == 32 * slice_["fpga"]["lut"]
    assert rows.loc["a packed multiply-accumulate of any mode is one DSP48E2", "verdict"] == "holds"


def test_page_and_figures(table: pd.DataFrame) -> None:
    folder = Path(table.attrs["folder"])
    page = (folder / "index.html").read_text()
    for text in ("weight_channels", "IdealFpgaLogic", "Shuhai", "What the paper leaves open"):
        assert text in page
    for element in ("<script", "<link", "<img", "src=", "without the authors"):
        assert element not in page
    for name in ("contexts", "ablation", "roofline", "ratios"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 10_000
        assert f'id="figure-{name}"' in page


def test_open_points_name_fields_of_the_machine() -> None:
    from sim.machines import make_machine

    machine = make_machine("accllm-u280")
    for _, field, default, _, sentence in accllm.OPEN_POINTS:
        assert sentence.endswith(".")
        if field:
            group, _, name = field.rpartition(".")
            holder = getattr(machine, group) if group else machine
            assert str(getattr(holder, name)) == default, field


def test_the_arithmetic_is_that_of_the_format() -> None:
    """The closed form of the page against the formats' own count, matrix by matrix."""
    width, wide = LLAMA.hidden, LLAMA.intermediate
    sizes = [(width, width)] * 4 + [(wide, width)] * 2 + [(width, wide)]
    for name, settings in LAYOUTS.items():
        form = WeightFormat().override({k.removeprefix("weights."): v for k, v in settings.items()})
        bits = LLAMA.layers * sum(form.matrix_bits(*size) for size in sizes)
        assert weight_bytes(name) == bits // 8, name


def test_a_trace_of_one_operator_holds_nothing_else() -> None:
    trace = traces()["down of decode 1024"]()
    assert set(trace.array("matmul", "operator")) == {"down"}
    assert trace.rows("attention") == 0
    assert traces()["attention of decode 1024"]().rows("matmul") == 0


def test_points_that_lie_together_share_a_name() -> None:
    near, far = Point("a", 1.0, 100.0), Point("c", 1.0, 300.0)
    assert together([near, Point("b", 1.1, 105.0), far]) == [[near, Point("b", 1.1, 105.0)], [far]]


def test_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="traces must be left out for accllm"):
        accllm.make_lab(tmp_path)
    result = CliRunner().invoke(app, ["reproduce", "accllm", "--traces", str(tmp_path)])
    assert result.exit_code == 2
