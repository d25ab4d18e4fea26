"""A real trace on disk, spaces over it, and an engine that runs calls in this process."""

import pytest

from reports.sweeping.traces import ModelTraces
from sim.sweep import Space, Sweep
from sim.sweep.engine import Answer, answer
from sim.sweep.store import Store
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import write_trace

SMALL = ModelShape(
    name="small",
    layers=2,
    heads=2,
    kv_heads=2,
    head_dim=64,
    hidden=128,
    intermediate=256,
    source="test",
)


class Inline:
    """Runs calls in this process, one after another; `limit`: stops as Ctrl-C would."""

    def __init__(self, limit=None):
        self.left = limit
        self.ran = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, stream):
        for item in stream:
            if isinstance(item, Answer):
                yield item
                continue
            if self.left is not None:
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
            self.ran.append(item)
            yield Answer(item.tag, *answer(item.function, item.arguments))


@pytest.fixture
def inline():
    return Inline


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    """Return the paths of two small traces."""
    folder = tmp_path_factory.mktemp("traces")
    paths = []
    for tokens in (6, 9):
        path = folder / f"t{tokens}.trace"
        write_trace(shape_trace(SMALL, tokens, value_keep=0.5, token_keep=[1.0, 0.7]), path)
        paths.append(str(path))
    return paths


@pytest.fixture
def space_of(traces):
    """Return a function that makes a space over a small trace."""

    def make(axes=None, **fields):
        axes = {"machine.value_topk.lanes": [1, 2, 4]} if axes is None else axes
        return Space.of({"workload": traces[0], "axes": axes} | fields)

    return make


@pytest.fixture
def sweep(tmp_path, inline):
    """Return a function that runs a space in this process and returns how it ended."""

    def run(space, folder=None, engine=None, **options):
        folder = folder or tmp_path / "sweep"
        return Sweep(space, ModelTraces(), folder).run(engine or inline(), **options)

    return run


@pytest.fixture
def kept():
    """Return a function that reads all that is kept of the points of a folder, but the time."""

    def read(folder):
        with Store(folder, reading=True) as store:
            points = list(store.points(details=True))
        return [
            (p.number, p.key, p.status, p.assignment, p.trace, p.reason, p.row, p.detail)
            for p in points
        ]

    return read
