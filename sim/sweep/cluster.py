"""The engine for a cluster: workers of a Dask scheduler, which must see the sweep's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.sweep.engine import AHEAD, Answer, Call, Stream, answer
from workloads.errors import InputError

CONNECT_SECONDS = 10


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
        try:
            make: Any = Client
            self._client = make(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--dask must name a running scheduler, {address} gave no answer in "
                f"{CONNECT_SECONDS} s ({type(error).__name__})"
            ) from error
        try:
            self._check(address, folder.resolve())
        except BaseException:
            self._client.close()
            raise

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
        self._client.close()

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
        room = max(1, sum(self._client.nthreads().values())) * AHEAD
        more = True
        while more or waiting:
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


def _answer(call: Call, future: Any) -> Answer:
    from distributed import KilledWorker

    if future.cancelled():
        raise InputError("the Dask scheduler must stay up, it is gone; --resume goes on")
    error = future.exception()
    if error is None:
        return Answer(call.tag, *future.result())
    if isinstance(error, KilledWorker):
        return Answer(call.tag, failure="the workers that ran it died, again and again")
    return Answer(call.tag, failure=f"{type(error).__name__}: {error}")
