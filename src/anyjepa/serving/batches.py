"""Compute the jobs of several requests together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Waiting(Generic[Job, Result]):
    job: Job
    size: int
    result: asyncio.Future[Result]


class Batches(Generic[Job, Result]):
    """Collect jobs that arrive while a batch is computed, and compute them together, up to a total size of `most`.

    A job larger than `most` is a batch of its own. If a batch fails, each of its jobs is computed alone, so that one
    bad job does not fail the others.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Job]], Sequence[Result]],
        executor: Executor,
        busy: asyncio.Lock,
        most: int,
    ):
        """compute: runs in `executor`. Instances that share the executor also share `busy`, so that they take turns."""
        self._compute, self._executor, self._busy, self._most = compute, executor, busy, most
        self._waiting: deque[_Waiting[Job, Result]] = deque()
        self._changed = asyncio.Event()

    async def result(self, job: Job, size: int) -> Result:
        """The result of `compute` for a job, which counts as `size` in its batch. Raises what `compute` raises."""
        waiting = _Waiting(job, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._changed.set()
        return await waiting.result

    async def run(self) -> None:
        """Compute batches until cancelled."""
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            async with self._busy:
                await self._answer(self._take())

    def _take(self) -> list[_Waiting[Job, Result]]:
        batch = [self._waiting.popleft()]
        size = batch[0].size
        while self._waiting and size + self._waiting[0].size <= self._most:
            batch.append(self._waiting.popleft())
            size += batch[-1].size
        return batch

    async def _answer(self, batch: list[_Waiting[Job, Result]]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        try:
            results = await run(self._executor, self._compute, [waiting.job for waiting in batch])
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    await self._answer([waiting])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():  # its client may have disconnected
                waiting.result.set_result(result)
