"""Write a store: recordings are read, prepared and written shard by shard, by several processes.

A shard contains a fixed part of the files, independent of the process and the order of writing. It is finished when the
file that describes it exists, whose name has a digest of its inputs. Therefore the same command resumes a stopped run,
and the result is identical to that of a run without interruption.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from hashlib import blake2b
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anyjepa.config import validated
from anyjepa.data.dataset import OnError
from anyjepa.data.ecg.checks import Problem, added_up, check
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.prepare.work import Work
from anyjepa.data.ecg.preprocessing import align, derived_leads, deviations, pooled
from anyjepa.data.ecg.reading import find
from anyjepa.data.ecg.recording import Recording, check_rate
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.ecg.stores.store import (
    INDEX,
    MANIFEST,
    SHARDS,
    LeadStatistics,
    Manifest,
    Shard,
    Store,
    StoreSettings,
    checksum,
    index_schema,
)  # fmt: skip
from anyjepa.data.ecg.wfdb.header import record_files
from anyjepa.data.workers import started
from anyjepa.errors import InputError
from anyjepa.progress import Counter
from anyjepa.signals import not_passed_on
from anyjepa.writing import replacing, write_text

ENTRIES_PER_SHARD = 128  # 31 MB for records of 10 s at 500 Hz: the unit of parallel work, which is lost after a kill
_INDEX_ROWS = 20_000  # rows per row group of the index, the most that are in memory


def prepare_store(
    paths: Sequence[Path | str],
    output: Path | str,
    *,
    fs: float = 500.0,
    leads: Sequence[str] = LEADS,
    missing_leads: Literal["refuse", "zero"] = "refuse",
    highpass_hz: float | None = None,
    unit: str | float | None = None,
    on_error: OnError = "raise",
    workers: int = 1,
    progress: bool = False,
) -> Store:
    """Read all ECGs under `paths` and write the store `output`. Resumes a stopped call with the same input.

    fs (Hz), leads: those of the store. missing_leads 'zero': records can lack leads, which are read as zero.
    highpass_hz: see `preprocessing.highpass`. unit: replaces the unit in the files. on_error 'skip': files and records
    that cannot be read or prepared are skipped and listed in the manifest. workers: number of processes.

    The working folder is `output`.part; its shards are written again if files or settings have changed. Raises
    InputError for wrong input, and if `output` exists. `Store.problems` lists problems of the records.
    """
    paths, output = [Path(path) for path in paths], Path(output)
    _check_free(output)
    if missing_leads not in ("refuse", "zero"):  # older stores may have mask, which was read as zero
        raise InputError(f"data prepare: missing_leads must be 'refuse' or 'zero', got '{missing_leads}'")
    settings = validated(
        StoreSettings,
        {
            "fs": check_rate(fs, "fs"),
            "leads": list(leads),
            "missing_leads": missing_leads,
            "highpass_hz": highpass_hz,
            "unit": unit,
            "on_error": on_error,
        },
        "data prepare",
    )
    work = Work(output.with_name(f"{output.name}.part"), settings)
    names = [name for name, _ in _shards(paths, settings)]
    with work.claimed():
        _check_free(output)  # another process may have created it
        work.begin(names)
        _write_shards(work, _shards(paths, settings, []), len(names), workers, progress)
        _write_index(work, paths, names)
        Store(work.store)  # checks that index and shards match
        try:
            work.store.rename(output)
        except OSError as error:
            raise InputError(
                f"{output}: the store cannot be moved here ({error.strerror}); it is in {work.store}"
            ) from error
        shutil.rmtree(work.folder, ignore_errors=True)
    return Store(output)


def _check_free(output: Path) -> None:
    if os.path.lexists(output):  # also true for a broken symlink
        raise InputError(f"{output}: already exists; delete it, or choose another path for the store")


def _shards(
    paths: Sequence[Path], settings: StoreSettings, remarks: list[str] | None = None
) -> Iterator[tuple[str, list[Entry]]]:
    """Name and entries of each shard: '000012-<digest of its inputs and settings>'. remarks: see `find`."""
    entries = find(paths, unit=settings.unit, remarks=remarks)
    for number in itertools.count():
        if not (group := list(islice(entries, ENTRIES_PER_SHARD))):
            return
        digest = blake2b(settings.model_dump_json(exclude={"on_error"}).encode(), digest_size=8)
        digest.update(version("anyjepa").encode())
        for entry in group:
            digest.update(f"\n{entry.where}\n{entry.facts}".encode())
            for file in _files(entry):
                if file.is_file():
                    facts = file.stat()
                    digest.update(f"\n{file}\n{facts.st_size}\n{facts.st_mtime_ns}".encode(errors="surrogateescape"))
        yield f"{number:06}-{digest.hexdigest()}", group


def _files(entry: Entry) -> Iterator[Path]:
    for file in entry.files:
        yield from record_files(file) if file.suffix.lower() == ".hea" else [file]


def _write_shards(
    work: Work, shards: Iterator[tuple[str, list[Entry]]], count: int, workers: int, progress: bool
) -> None:
    """All shards that are not finished yet."""
    missing = ((name, entries) for name, entries in shards if not work.done(name).exists())
    done = len(list(work.folder.glob("done/*.json")))
    with Counter("preparing: shards", progress) as counter:
        for written, _ in enumerate(_each(work, missing, workers), 1):
            counter.update(done + written, count)


def _each(work: Work, shards: Iterator[tuple[str, list[Entry]]], workers: int) -> Iterator[None]:
    """Write the shards in this process, or in `workers` other processes; yields after each shard."""
    if workers == 1:
        for shard in shards:
            yield _write_shard(work, *shard)
        return
    with started(workers) as pool:
        with not_passed_on():  # starts all workers
            waiting = {pool.submit(_write_shard, work, *shard) for shard in islice(shards, 2 * workers)}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(_write_shard, work, *shard) for shard in islice(shards, len(finished))}
                for future in finished:
                    yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                f"{work.folder}: a process was killed, perhaps out of memory; resume with fewer --workers"
            ) from error


def _write_shard(work: Work, name: str, entries: list[Entry]) -> None:
    """Write the signals of these entries as one shard and, when it is complete, its metadata."""
    settings, number = work.settings, int(name[:6])
    data = work.store / SHARDS / f"{number:06}.f32"
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    problems: list[Problem] = []
    crc, size = 0, 0
    with replacing(data) as new, new.open("wb") as out:
        for recording in _recordings(entries, settings, skipped):
            try:
                signal = align(
                    recording,
                    settings.fs,
                    settings.leads,
                    missing_leads=settings.missing_leads,
                    highpass_hz=settings.highpass_hz,
                    advice="Skip such records with --on-error skip, or keep them with --missing-leads zero",
                )
            except InputError as error:
                _skip(settings, skipped, recording.id, error)
                continue
            content = np.ascontiguousarray(signal, "<f4").data.cast("B")
            out.write(content)
            rows.append(_row(recording, signal, settings) | {"shard": number, "offset": size // 4})
            problems = added_up([*problems, *check([recording])])
            crc, size = zlib.crc32(content, crc), size + len(content)
    shard = Shard(file=data.name, bytes=size, checksum=f"{crc:08x}").model_dump()
    facts = {"shard": shard, "rows": rows, "skipped": skipped, "problems": [asdict(problem) for problem in problems]}
    content = json.dumps(facts).encode()
    with replacing(work.done(name)) as new:
        new.write_bytes(f"{checksum(content)}\n".encode() + content)


def _recordings(entries: list[Entry], settings: StoreSettings, skipped: dict[str, str]) -> Iterator[Recording]:
    for entry in entries:
        try:
            yield from entry.read()
        except InputError as error:
            _skip(settings, skipped, entry.where, error)


def _skip(settings: StoreSettings, skipped: dict[str, str], name: str, error: InputError) -> None:
    if settings.on_error == "raise":
        raise error
    skipped[name] = str(error)


def _row(recording: Recording, signal: np.ndarray, settings: StoreSettings) -> dict[str, Any]:
    mean, squares = deviations(signal)
    statements = sorted(recording.statements)
    marks = recording.annotations
    return {
        "id": recording.id,
        "patient": recording.patient,
        "source": recording.source,
        "statements": statements,
        "likelihoods": [recording.likelihoods.get(statement) for statement in statements],
        "age": recording.age,
        "sex": recording.sex,
        "split": recording.split,
        "marks": np.round(marks.samples * (settings.fs / recording.fs)).astype(int).tolist() if marks else None,
        "symbols": marks.symbols if marks else None,
        "derived": derived_leads(recording, settings.leads),
        "samples": signal.shape[1],
        "mean": mean.tolist(),
        "squares": squares.tolist(),
    }


def _write_index(work: Work, paths: Sequence[Path], names: Sequence[str]) -> None:
    """Write the index and the manifest from the metadata of the shards. Raises InputError if an id occurs twice."""
    shards: list[Shard] = []
    skipped: dict[str, str] = {}
    problems: list[Problem] = []
    index, settings = work.store / INDEX, work.settings
    records, moments = _write_rows(index, _rows(work, names, shards, skipped, problems), settings)
    if skipped and settings.on_error == "raise":  # shards from an earlier call with 'skip'
        raise InputError(next(iter(skipped.values())))
    if not records:
        reason = next(iter(skipped.values()), "there are no paths")
        raise InputError(f"no ECG could be prepared ({len(skipped)} skipped); the first: {reason}")
    manifest = Manifest(
        anyjepa=version("anyjepa"),
        paths=tuple(map(str, paths)),
        settings=settings,
        records=records,
        statistics={
            lead: LeadStatistics(count=int(count), mean=mean, squares=squares)
            for lead, count, mean, squares in zip(settings.leads, *moments.tolist(), strict=True)
        },
        index=checksum(index.read_bytes()),
        shards=tuple(shards),
        skipped=skipped,
        problems=tuple(problems),
    )
    write_text(work.store / MANIFEST, manifest.model_dump_json(indent=1))


def _rows(
    work: Work, names: Sequence[str], shards: list[Shard], skipped: dict[str, str], problems: list[Problem]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of all shards in order, and fill the lists and the dictionary."""
    for name in names:
        if (facts := work.finished(name)) is None:
            raise InputError(f"{work.done(name)}: the shard or its files have changed; run the command again")
        shards.append(Shard(**facts["shard"]))
        skipped.update(facts["skipped"])
        problems[:] = added_up([*problems, *(Problem(**problem) for problem in facts["problems"])])
        yield from facts["rows"]


def _write_rows(file: Path, rows: Iterator[dict[str, Any]], settings: StoreSettings) -> tuple[int, np.ndarray]:
    """Write the index. Returns the number of records, and samples, mean and squared deviations per lead, (3, L)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = index_schema()
    seen: set[str] = set()
    groups = []
    with replacing(file) as new, pq.ParquetWriter(new, schema) as writer:
        while group := list(islice(rows, _INDEX_ROWS)):
            for row in group:
                if row["id"] in seen:
                    raise InputError(f"id '{row['id']}' occurs twice; prepare the common folder of its files")
                seen.add(row["id"])
            writer.write_table(pa.Table.from_pylist(group, schema))
            count, mean, squares = (np.array([row[key] for row in group]) for key in ("samples", "mean", "squares"))
            groups.append(pooled(count[:, None], mean, squares))
    if not groups:
        return 0, np.zeros((3, len(settings.leads)))
    return len(seen), np.stack(pooled(*(np.stack(column) for column in zip(*groups, strict=True))))
