"""Jobs are computed together when they come together, and fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from anyjepa.serving.batches import Batches


def squares(numbers: Sequence[int]) -> list[int]:
    if -1 in numbers:
        raise ValueError("negative")
    return [number**2 for number in numbers]


def run(test: Callable[[Batches[int, int], list[list[int]]], Awaitable[None]], most: int) -> None:
    """test: gets batches, and the list of those that were computed."""

    async def main() -> None:
        computed: list[list[int]] = []

        def compute(numbers: Sequence[int]) -> list[int]:
            computed.append(list(numbers))
            return squares(numbers)

        with ThreadPoolExecutor(1) as executor:
            batches = Batches(compute, executor, asyncio.Lock(), most)
            task = asyncio.create_task(batches.run())
            await asyncio.wait_for(test(batches, computed), 20)
            task.cancel()

    asyncio.run(main())


def test_jobs_that_come_together_are_computed_together() -> None:
    async def test(batches: Batches[int, int], computed: list[list[int]]) -> None:
        assert await asyncio.gather(*(batches.result(n, 1) for n in range(8))) == [n**2 for n in range(8)]
        assert computed == [[0, 1, 2, 3], [4, 5, 6, 7]]

    run(test, most=4)


def test_sizes_fill_a_batch_and_a_large_job_is_one_of_its_own() -> None:
    async def test(batches: Batches[int, int], computed: list[list[int]]) -> None:
        sizes = {1: 2, 2: 3, 3: 9, 4: 1}
        await asyncio.gather(*(batches.result(n, size) for n, size in sizes.items()))
        assert computed == [[1, 2], [3], [4]]
        assert await batches.result(5, 1) == 25

    run(test, most=5)


def test_only_those_jobs_fail_that_have_to() -> None:
    async def test(batches: Batches[int, int], computed: list[list[int]]) -> None:
        results = await asyncio.gather(*(batches.result(n, 1) for n in (1, -1, 3)), return_exceptions=True)
        assert results[::2] == [1, 9]
        assert str(results[1]) == "negative"
        assert computed == [[1, -1, 3], [1], [-1], [3]]
        with pytest.raises(ValueError, match="negative"):
            await batches.result(-1, 1)
        assert await batches.result(2, 1) == 4

    run(test, most=3)


def test_a_client_that_is_gone_harms_nobody() -> None:
    async def test(batches: Batches[int, int], computed: list[list[int]]) -> None:
        gone = asyncio.create_task(batches.result(7, 1))
        other = asyncio.create_task(batches.result(2, 1))
        await asyncio.sleep(0)
        gone.cancel()
        assert await other == 4

    run(test, most=2)
