"""A real layer of the tiny decoder through the W2A8KV4 engine, in Verilator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtl.build import simulate
from rtl.registry import find_block
from sim.blocks.kv4_dequant import score_multiplier
from sim.machines.accllm_golden import GoldenDecoder, GoldenEngine, HeadRow

pytestmark = [pytest.mark.rtl, pytest.mark.model]

LAYER, TOKENS = 3, 9  # eight tokens in matrix mode, as in a prefill, and one in vector mode

Array = np.ndarray[Any, Any]


class Recorder(GoldenEngine):
    """The golden engine, which also writes down what it is asked and what it answers."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Array]] = []
        self.answers: list[Array] = []
        self._rows: list[tuple[HeadRow, Array]] = []

    def linear(self, codes: Any, matrix: Any) -> Any:
        self._end_rows()
        sums = super().linear(codes, matrix)
        self.calls.append(
            {
                "activations": codes,
                "codes": matrix.codes,
                "positions": matrix.positions,
                "scales": matrix.scales.view(np.uint16),
                "zeros": matrix.zeros,
            }
        )
        self.answers.append(sums)
        return sums

    def attend(self, row: HeadRow) -> Any:
        outputs = super().attend(row)
        self._rows.append((row, outputs))
        return outputs

    def _end_rows(self) -> None:
        if not self._rows:
            return
        rows = [row for row, _ in self._rows]
        factors = [score_multiplier(float(row.scales[0]), row.queries.shape[1]) for row in rows]
        self.calls.append(
            {
                "queries": np.array([row.queries[0] for row in rows]),
                "multiplier": np.array([multiplier for multiplier, _ in factors]),
                "shift": np.array([shift for _, shift in factors]),
                "keys": np.array([len(row.scales) for row in rows]),
            }
            | {
                f"{letter}{end}": np.concatenate([part(getattr(row, name)) for row in rows])
                for letter, name in (("k", "keys"), ("v", "values"))
                for end, part in (
                    ("", lambda own: own.codes),
                    ("_scales", lambda own: own.scales.view(np.uint16)),
                    ("_zeros", lambda own: own.zeros),
                )
            }
        )
        self.answers.append(np.array([outputs for _, outputs in self._rows]))
        self._rows = []


class Replay:
    """Answers with what the hardware gave, call by call."""

    def __init__(self, answers: list[Array]) -> None:
        self._answers = iter(answers)
        self._rows: list[Array] = []

    def linear(self, codes: Any, matrix: Any) -> Any:
        return next(self._answers)

    def attend(self, row: HeadRow) -> Any:
        self._rows = self._rows or list(next(self._answers))
        return self._rows.pop(0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[GoldenDecoder, Array, Recorder, Any]:
    """The decoder, the layer's input, what the golden engine did and what hardware answered."""
    from algos.compress import Compression, compress
    from reports.golden import decoder_weights
    from workloads.models import load_decoder
    from workloads.text import held_out, library_text, samples

    torch = pytest.importorskip("torch")
    loaded = load_decoder()
    calibration = samples(loaded, library_text(), 4, 256)
    packed = compress(loaded.model, torch.tensor(calibration), Compression())
    decoder = GoldenDecoder(decoder_weights(loaded, packed))
    tokens = held_out(loaded, None, 1)[0][:TOKENS].tolist()
    hidden = decoder.embed(tokens)
    for layer in range(LAYER):
        hidden = decoder.layer(layer, hidden)
    recorder = Recorder()
    GoldenDecoder(decoder.weights, engine=recorder).layer(LAYER, hidden)

    folder: Path = tmp_path_factory.mktemp("tiny")
    arrays = {f"{n}.{name}": array for n, call in enumerate(recorder.calls)
              for name, array in call.items()}  # fmt: skip
    np.savez(folder / "layer.calls.npz", **arrays)
    block = find_block("w2a8kv4")
    outcomes = simulate(
        block,
        block.make_config({"dsps": 32, "lines": 64, "pairs": 4}),
        folder / "sim",
        bench="rtl.bench.w2a8kv4_calls",
        given=folder,
    )
    assert [outcome.passed for outcome in outcomes] == [True], outcomes
    with np.load(folder / "layer.outputs.npz") as given:
        found = {name: given[name] for name in given.files}
    return decoder, hidden, recorder, found


def test_every_product_and_row_is_golden(ran: Any) -> None:
    _, _, recorder, found = ran
    kinds = ["activations" in call for call in recorder.calls]
    assert kinds == [True] * 3 + [False] + [True] * 4  # Q, K, V; attention; O, gate, up, down
    for number, answer in enumerate(recorder.answers):
        np.testing.assert_array_equal(found[str(number)], answer)


def test_the_layers_output_is_golden(ran: Any) -> None:
    decoder, hidden, recorder, found = ran
    answers = [found[str(number)] for number in range(len(recorder.calls))]
    by_hardware = GoldenDecoder(decoder.weights, engine=Replay(answers)).layer(LAYER, hidden)
    golden = decoder.layer(LAYER, hidden)
    np.testing.assert_array_equal(by_hardware, golden)
    assert np.abs(golden - hidden).max() > 2**12  # the layer did something


def test_cycles_are_those_of_the_work(ran: Any) -> None:
    """A beat of two groups a cycle for a vector, eight cycles for the four pairs of a matrix."""
    _, _, recorder, found = ran
    beats = sum(call["codes"].size // 64 for call in recorder.calls if "codes" in call)
    keys = sum(call["keys"].sum() for call in recorder.calls if "keys" in call)
    least = 9 * beats + 2 * keys
    assert least <= int(found["cycles"]) <= 1.1 * least
