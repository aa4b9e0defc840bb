"""Compute the jobs of several requests together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Waiting(Generic[Job, Result]):
    job: Job
    size: int
    since: float  # time of the event loop
    result: asyncio.Future[Result]


class Batches(Generic[Job, Result]):
    """Compute waiting jobs together, as soon as their sizes add up to `most` or the first has waited for `wait_s`.

    While one batch is computed, the next one collects jobs. A job larger than `most` is a batch of its own. If a batch
    fails, each of its jobs is computed alone, so that one bad job does not fail the others.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Job]], Sequence[Result]],
        executor: Executor,
        busy: asyncio.Lock,
        most: int,
        wait_s: float,
    ):
        """compute: runs in `executor`. Instances that share the executor also share `busy`, so that they take turns."""
        self._compute, self._executor, self._busy, self._most, self._wait_s = compute, executor, busy, most, wait_s
        self._waiting: deque[_Waiting[Job, Result]] = deque()
        self._changed = asyncio.Event()

    async def result(self, job: Job, size: int) -> Result:
        """The result of `compute` for a job, which counts as `size` in its batch. Raises what `compute` raises."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(job, size, loop.time(), loop.create_future())
        self._waiting.append(waiting)
        self._changed.set()
        return await waiting.result

    async def run(self) -> None:
        """Compute batches until cancelled."""
        while True:
            await self._collected()
            async with self._busy:
                batch = self._take()
                await self._answer(batch)

    async def _collected(self) -> None:
        """Wait until a batch is due."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._waiting[0].since + self._wait_s):
                while sum(waiting.size for waiting in self._waiting) < self._most:
                    self._changed.clear()
                    await self._changed.wait()

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
