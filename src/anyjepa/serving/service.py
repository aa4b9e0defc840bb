"""Answer requests: read the body, prepare the records, encode them in batches, and write the answer."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from fastapi import HTTPException

from anyjepa.data.modalities import modality_of
from anyjepa.data.samples import ArraySamples, Samples
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.windows import Windows
from anyjepa.limits import MEMORY, ORDINARY, PIXELS
from anyjepa.runs.classifier import compute_predictions, warn_about_short, windows_of
from anyjepa.runs.model import Model
from anyjepa.runs.predictions import Predictions, warn_about_rare
from anyjepa.serving.answers import embedding_arrays, prediction_arrays, write_answer
from anyjepa.serving.batches import Batches
from anyjepa.serving.bodies import read_body
from anyjepa.serving.settings import Settings


@dataclass(frozen=True)
class Question:
    """A request. media, accept: media types of its body and of the answer. coverage: coverage of prediction sets."""

    body: bytes
    media: str
    accept: str
    predict: bool  # predictions instead of embeddings
    coverage: float | None = None  # None: no prediction sets


@dataclass(frozen=True)
class Answer:
    """An answer, with the numbers of records and windows for the log."""

    body: bytes
    records: int
    windows: int


class Service:
    """One model. One thread prepares requests in turn, a second encodes them in batches, and a third writes answers.

    Only the first thread may catch Python's warnings, because these are global; they become part of an answer.
    """

    def __init__(self, model: Model, name: str, settings: Settings):
        self.model, self.name, self.settings = model, name, settings
        self.modality, self.classifier = modality_of(model.preprocessing), model.loaded.config.classifier

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the threads while the context lasts."""
        busy, most, threads = asyncio.Lock(), self.settings.batch, self.settings.threads
        arguments = {} if threads is None else {"initializer": torch.set_num_threads, "initargs": (threads,)}
        with (
            ThreadPoolExecutor(1) as self._preparing,
            ThreadPoolExecutor(1, **arguments) as encoding,
            ThreadPoolExecutor(1) as self._writing,
        ):
            self._embeddings = Batches(self._embed, encoding, busy, most)
            self._predictions = Batches(self._predict, encoding, busy, most)
            self._tasks = [asyncio.create_task(batches.run()) for batches in (self._embeddings, self._predictions)]
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()

    @property
    def healthy(self) -> bool:
        """Whether batches are still being computed."""
        return not any(task.done() for task in self._tasks)

    async def answer(self, question: Question) -> Answer:
        """Raises HTTPException, or InputError for records that do not fit the model."""
        run = asyncio.get_running_loop().run_in_executor
        samples, size, remarks = await run(self._preparing, self._prepared, question)
        batches = self._predictions if question.predict else self._embeddings
        result = await batches.result(samples, size)
        body = await run(self._writing, self._written, result, remarks, question)
        return Answer(body, len(samples), size)

    def _prepared(self, question: Question) -> tuple[Samples, int, list[str]]:
        """Records as the encoder sees them, the number of their windows, and the texts of DataWarnings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            samples, size = self._prepare(question)
        return samples, size, [str(one.message) for one in caught if issubclass(one.category, DataWarning)]

    def _prepare(self, question: Question) -> tuple[Samples, int]:
        most, preprocessing = ORDINARY * self.settings.max_bytes, self.model.preprocessing
        with MEMORY.lowered(most), PIXELS.lowered(most // 3):
            raw, options = read_body(question.body, question.media, self.modality)
            self._check_amount(raw, options.get("fs"))
            samples = self.model.prepared(raw, **options)
        if not len(samples):
            raise InputError("the body: contains no record")
        windows = Windows(length=preprocessing.size[0])
        if question.predict and self.classifier is not None:
            warn_about_short(self.classifier, preprocessing, samples)
            if question.coverage is not None:
                warn_about_rare(self.classifier, self.model.loaded.calibration, question.coverage)
            windows = windows_of(self.classifier, preprocessing)
        if (size := int(windows.counts(samples).sum())) > (limit := self.settings.max_windows):
            raise HTTPException(413, f"{size} windows to encode, more than {limit}; send fewer or shorter records")
        return samples, size

    def _check_amount(self, raw: Any, fs: Any) -> None:
        """Refuse more records than allowed windows, and records that would exceed the memory limit once prepared."""
        made = self.model.preprocessing
        single = isinstance(raw, np.ndarray) and (not raw.ndim or made.is_single(raw))
        if (count := 1 if single else len(raw)) > (limit := self.settings.max_windows):
            raise HTTPException(413, f"{count} records, more than {limit}; send fewer")
        if not isinstance(raw, (list, np.ndarray)):  # cells, whose genes are those of the model
            return
        records: Sequence[Any] = [raw] if single else list(raw)
        length, *rest = made.size
        if not rest:  # samples along one axis, resampled if the model has a rate
            ratio = 1.0
            with suppress(TypeError, ValueError, OverflowError):  # a wrong rate is refused later
                ratio = made.rate / float(fs) if made.rate and float(fs) > 1 else 1.0
            length = sum(np.shape(record)[-1] * ratio for record in records if np.ndim(record))
        elif len(rest) > 1:  # frames
            length = sum(np.shape(record)[0] / getattr(made, "stride", 1) for record in records if np.ndim(record))
        MEMORY.check(4 * made.channels * length * prod(rest), "preparing the records")

    @staticmethod
    def _written(result: np.ndarray | Predictions, remarks: list[str], question: Question) -> bytes:
        if isinstance(result, Predictions):
            return write_answer(prediction_arrays(result, question.coverage), remarks, question.accept)
        return write_answer(embedding_arrays(result), remarks, question.accept)

    def _embed(self, jobs: Sequence[Samples]) -> list[np.ndarray]:
        vectors = self.model.embed_samples(_joined(jobs), self.settings.batch)
        return [vectors[rows.start : rows.stop] for rows in _rows(jobs)]

    def _predict(self, jobs: Sequence[Samples]) -> list[Predictions]:
        loaded, preprocessing = self.model.loaded, self.model.preprocessing
        predictions = compute_predictions(loaded, preprocessing, _joined(jobs), self.settings.batch)
        return [predictions.rows(rows) for rows in _rows(jobs)]


def _joined(jobs: Sequence[Samples]) -> Samples:
    records = [(samples.ids[place], samples[place]) for samples in jobs for place in range(len(samples))]
    return ArraySamples(tuple(id for id, _ in records), [signal for _, signal in records])


def _rows(jobs: Sequence[Samples]) -> list[range]:
    ends = np.cumsum([len(samples) for samples in jobs]).tolist()
    return [range(end - len(samples), end) for end, samples in zip(ends, jobs, strict=True)]
