"""The engine for a cluster: workers of a Dask scheduler, which must see the sweep's folder."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sim.sweep.engine import AHEAD, Answer, Call, Stream, answer
from workloads.errors import InputError

CONNECT_SECONDS = 10
LOOK_SECONDS = 5  # between two looks at how many workers there are
GONE = "the Dask scheduler must stay up, it is gone; what was finished is kept, --resume goes on"


class Dask:
    """The workers of a running scheduler.

    Args:
        address: of the scheduler, as `tcp://host:8786`.
        folder: of the sweep; every worker must be able to read it.

    Raises:
        InputError: dask is not installed, no scheduler answers, it has no workers, or one of them
            does not see the folder.
    """

    def __init__(self, address: str, folder: Path) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise InputError(
                "--dask must have dask.distributed, it is missing: pip install 'prunesim[dse]'"
            ) from None
        with ExitStack() as opened:
            opened.enter_context(_quiet())
            try:
                # a client that gets no answer cannot be closed again, so look first
                with ThreadPoolExecutor(1) as beside:  # for a caller that runs an event loop
                    beside.submit(asyncio.run, _reach(address)).result()
                make: Any = Client
                self._client = make(address, timeout=CONNECT_SECONDS, set_as_default=False)
            except Exception as error:  # of any kind: whatever else may listen there
                raise InputError(
                    f"--dask must name a running scheduler as tcp://HOST:PORT, {address} gave no "
                    f"answer ({type(error).__name__})"
                ) from error
            opened.callback(self._client.close)
            self._check(address, folder.resolve())
            self._opened = opened.pop_all()

    def _check(self, address: str, folder: Path) -> None:
        seen = self._client.run(folder.is_dir)
        if not seen:
            raise InputError(f"the scheduler {address} must have workers, it has none")
        blind = [worker for worker, sees in seen.items() if not sees]
        if blind:
            raise InputError(
                f"every worker must see the folder {folder}, {len(blind)} of {len(seen)} do not, "
                f"{blind[0]} is one: put it on a shared file system"
            )

    def __enter__(self) -> Dask:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def run(self, stream: Stream) -> Iterator[Answer]:
        """Yield one answer a call.

        Raises:
            InputError: the scheduler is gone.
        """
        from distributed import as_completed

        items = iter(stream)
        waiting: dict[str, Call] = {}
        futures: Any = as_completed
        ended = futures(loop=self._client.loop)
        more, room, asked = True, 0, -math.inf
        while more or waiting:
            if time.monotonic() - asked >= LOOK_SECONDS:  # workers come and go
                room, asked = self._room(), time.monotonic()
            while more and len(waiting) < room:
                item = next(items, None)
                if isinstance(item, Answer):
                    yield item
                elif item is None:
                    more = False
                else:
                    future = self._client.submit(answer, item.function, item.arguments, pure=False)
                    waiting[future.key] = item
                    ended.add(future)
            if waiting:
                future = next(ended)
                yield _answer(waiting.pop(future.key), future)

    def _room(self) -> int:
        """Return how many calls to hold, for the workers there are now."""
        try:
            threads: dict[str, int] = self._client.nthreads()
            return max(1, sum(threads.values())) * AHEAD
        except Exception as error:  # of any kind: TimeoutError, CommClosedError, TypeError
            raise InputError(GONE) from error


async def _reach(address: str) -> None:
    """Shake hands with a scheduler.

    Raises:
        Exception: of any kind, there is none.
    """
    from distributed.comm import core

    connect: Any = core.connect
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS)
    comm.abort()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from telling on stderr what is told in one sentence: lost workers, no scheduler."""
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "core", "comm")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _answer(call: Call, future: Any) -> Answer:
    from distributed import KilledWorker

    if future.cancelled():
        raise InputError(GONE)
    error = future.exception()
    if error is None:
        return Answer(call.tag, *future.result())
    if isinstance(error, KilledWorker):
        return Answer(call.tag, failure="the workers that ran it died, again and again")
    return Answer(call.tag, failure=f"{type(error).__name__}: {error}")
