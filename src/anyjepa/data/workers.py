"""Read and prepare records in advance in other processes, in order and with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.mounts import Container, all_mounted, remount
from anyjepa.errors import InputError
from anyjepa.parts import LocalModules
from anyjepa.signals import not_passed_on

T = TypeVar("T")
R = TypeVar("R")
TASK_BYTES = 2**22  # bytes of records that a process prepares at a time


@contextmanager
def started(workers: int, begin: Callable[..., None] | None = None, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Start processes that know the user's parts and end with this one. begin: function that each of them calls first.

    Submit the first tasks inside `not_passed_on`, because this starts the processes, which must not receive signals.
    """
    spawned = multiprocessing.get_context("spawn")  # forking is not safe with the threads of a progress bar and PyTorch
    with not_passed_on():  # starts a process that tracks resources, and then unblocks some signals
        context = LocalModules(), all_mounted()
        pool = ProcessPoolExecutor(workers, spawned, initializer=_begin, initargs=(*context, begin, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(
    modules: LocalModules,
    containers: Mapping[Path, Container],
    begin: Callable[..., None] | None,
    arguments: Sequence[Any],
) -> None:
    """Set up a worker, which ends if its parent is killed. modules: the user's parts, imported by unpickling."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    remount(containers)
    if begin is not None:
        begin(*arguments)


@contextmanager
def mapping(do: Callable[[T], R], workers: int, at_once: int) -> Iterator[Callable[[Iterable[T]], Iterator[R]]]:
    """Yield a `map` for one function, which `workers` processes apply to items while the caller uses earlier ones.

    Results and errors come in the order of the items. workers: 0 means this process. at_once: items per task; each
    process has at most two tasks. Raises InputError if a process is killed.
    """
    if not workers:
        yield partial(map, do)
        return
    with started(workers, _remember, do) as pool:
        yield partial(_ahead, pool, 2 * workers, at_once)


def _ahead(pool: ProcessPoolExecutor, most: int, at_once: int, items: Iterable[Any]) -> Iterator[Any]:
    left = iter(items)
    tasks = iter(lambda: list(islice(left, at_once)), [])
    waiting: deque[Future[list[Any]]] = deque()
    try:
        while True:
            with not_passed_on():
                waiting.extend(pool.submit(_do_all, task) for task in islice(tasks, most - len(waiting)))
            if not waiting:
                return
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise InputError("a process was killed, perhaps out of memory; start again with fewer --workers") from None
    finally:
        for task in waiting:
            task.cancel()


_do: Callable[[Any], Any]  # in a worker


def _remember(do: Callable[[Any], Any]) -> None:
    global _do
    _do = do


def _do_all(items: Sequence[Any]) -> list[Any]:
    return [_do(item) for item in items]


class ReadAhead:
    """`Samples` of a data set that other processes read in advance; see `reading_ahead`."""

    def __init__(self, dataset: Dataset, ahead: Callable[[Iterable[int]], Iterator[np.ndarray]]):
        self.dataset, self.ahead = dataset, ahead
        self.ids, self.lengths, self.source = dataset.ids, dataset.lengths, dataset.source

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.dataset[index]


@contextmanager
def reading_ahead(dataset: Dataset, workers: int) -> Iterator[Dataset | ReadAhead]:
    """Yield the records of a data set; if they are in files, `workers` processes read them in advance."""
    if not workers or not dataset.checksums:  # the records are in memory already
        yield dataset
        return
    size = 4 * dataset.preprocessing.channels * prod(dataset.preprocessing.size)
    with mapping(dataset.__getitem__, workers, max(1, min(64, TASK_BYTES // size))) as ahead:
        yield ReadAhead(dataset, ahead)
