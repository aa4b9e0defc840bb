"""A store: ECGs with ordered leads, filled gaps and one sampling rate, in memory-mapped files.

STORE/manifest.json    settings, shards with sizes and checksums, statistics, skipped files
STORE/index.parquet    one row per record: metadata, place of its samples, mean and deviations of each lead
STORE/shards/*.f32     float32 in mV, record after record, (leads, samples) each

Signals are not standardised. Constants are computed on reading, from the records that are used.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from anyjepa.config import Config, validated
from anyjepa.data.class_folders import Part
from anyjepa.data.dataset import OnError
from anyjepa.data.ecg.checks import Problem
from anyjepa.data.ecg.preprocessing import Leads, MissingLeads
from anyjepa.data.ecg.recording import FS_RANGE, MOST_MV, Annotations, Rate, Recording
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.files import opened, read_bytes, read_json, regular_size
from anyjepa.data.listing import set_name
from anyjepa.data.tables.parquet_files import declared_size
from anyjepa.errors import InputError, reason
from anyjepa.limits import check_size

VERSION = 1
ROW_BYTES = 200  # memory of a row of the index
MANIFEST, INDEX, SHARDS = "manifest.json", "index.parquet", "shards"
FACTS = [
    "patient", "source", "statements", "likelihoods", "age", "sex", "split", "marks", "symbols", "derived",
]  # fmt: skip
_UNKNOWN = ["patient", "age", "sex", "split", "marks", "symbols"]  # columns that may have no value
_LISTS = ["statements", "likelihoods", "marks", "symbols", "mean", "squares"]
_KIND = "anyjepa-ecg-store"


class StoreSettings(Config):
    """How the signals of a store were prepared."""

    fs: Rate = Field(description="sampling rate, Hz")
    leads: Leads = Field(description="leads, in this order")
    missing_leads: MissingLeads = Field(description="refuse: a missing lead is an error; zero: it is filled with zeros")
    highpass_hz: PositiveFloat | None = Field(
        lt=FS_RANGE[0] / 2, description="baseline wander below this was removed, Hz"
    )
    unit: str | PositiveFloat | None = Field(description="unit that replaces the unit in the files")
    on_error: OnError = Field(description="what to do with a file that cannot be used")


class Shard(Config):
    """One file of signals. checksum: CRC-32, which finds damage, not forgery."""

    file: str = Field(pattern=r"^[0-9]+\.f32$")
    bytes: NonNegativeInt
    checksum: str


class LeadStatistics(Config):
    """Statistics over all records of a store: samples, mean (mV) and sum of squared deviations (mV^2)."""

    count: NonNegativeInt
    mean: float
    squares: float


class Manifest(Config):
    """`manifest.json`."""

    kind: Literal["anyjepa-ecg-store"] = _KIND
    version: Literal[1] = VERSION
    anyjepa: str = Field(description="version that wrote the store")
    paths: tuple[str, ...] = Field(description="prepared files and folders")
    settings: StoreSettings
    records: PositiveInt
    statistics: dict[str, LeadStatistics] = Field(description="statistics of each lead")
    index: str = Field(description="checksum of the index")
    shards: tuple[Shard, ...]
    skipped: dict[str, str] = Field(description="skipped file or record -> reason")
    problems: tuple[Problem, ...] = Field(description="problems of the records, one per kind")


class StoredRecording(Recording):
    """A record of a store with a memory-mapped signal. It was already checked when the store was written."""

    def __post_init__(self) -> None: ...


class Store(Sequence[Recording]):
    """A store on disk, opened without reading signals. Records are made on demand.

    Raises InputError unless manifest, index and sizes of the shards match. The checksum of a shard is checked when it
    is first used.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        table = _read_index(self.path, self.manifest)
        self.leads = self.manifest.settings.leads
        self.ids: tuple[str, ...] = tuple(table["id"].to_pylist())
        self._facts = table.select(FACTS)
        self.lengths = table["samples"].to_numpy()  # (N,) samples
        self._shard, self._offset = table["shard"].to_numpy(), table["offset"].to_numpy()
        self.mean, self.squares = (_matrix(table[name]) for name in ("mean", "squares"))  # (N, L); NaN: lead absent
        self._check_bounds()
        self._maps: dict[int, np.ndarray] = {}

    @property
    def name(self) -> str:
        return set_name(self.path)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems of the records when they were read; see `checks.check`."""
        return self.manifest.problems

    @property
    def checksums(self) -> tuple[str, ...]:
        """Checksums of the index and of every shard. Stores with equal checksums have the same content."""
        return (self.manifest.index, *(shard.checksum for shard in self.manifest.shards))

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        """The record in mV, without missing leads."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        facts = self.facts(index)
        likelihoods = zip(facts["statements"], facts["likelihoods"], strict=True)
        there = ~np.isnan(self.mean[index])
        signal = self.signal(index)
        return StoredRecording(
            id=self.ids[index],
            signal=signal if there.all() else signal[there],
            fs=self.manifest.settings.fs,
            leads=tuple(lead for lead, has in zip(self.leads, there, strict=True) if has),
            patient=facts["patient"],
            statements=frozenset(facts["statements"]),
            source=facts["source"],
            age=facts["age"],
            sex=facts["sex"],
            split=facts["split"],
            likelihoods={statement: percent for statement, percent in likelihoods if percent is not None},
            annotations=_annotations(facts["marks"], facts["symbols"]),
            highpass_hz=self.manifest.settings.highpass_hz,
            file=f"{self.path}: record '{self.ids[index]}'",
        )

    def facts(self, index: int) -> dict[str, Any]:
        """Metadata of a record: the columns `FACTS` of the index."""
        return self._facts.slice(range(len(self))[index], 1).to_pylist()[0]

    def column(self, name: str, rows: np.ndarray) -> list[Any]:
        """One column of the index for the records at `rows`."""
        return self._facts[name].take(rows).to_pylist()

    def signal(self, index: int) -> np.ndarray:
        """The signal (L, T) float32 in mV, memory-mapped and read-only, with NaN for missing leads."""
        first, samples = self._offset[index], self.lengths[index]
        return self._map(int(self._shard[index]))[first : first + len(self.leads) * samples].reshape(-1, samples)

    def verify(self) -> None:
        """Check all checksums, reading every shard. Raises InputError if one does not match."""
        for number in np.unique(self._shard).tolist():
            self._map(number)

    def _map(self, number: int) -> np.ndarray:
        """Memory-map the samples of a shard, in mV."""
        if number not in self._maps:
            path = self.path / SHARDS / self.manifest.shards[number].file
            try:
                with _needed(), opened(path) as file:
                    samples = np.asarray(np.memmap(file, "<f4", mode="r"))
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); prepare the store again") from error
            if checksum(samples.data) != self.manifest.shards[number].checksum:
                raise InputError(f"{path}: is damaged: its checksum differs from {MANIFEST}; prepare the store again")
            self._check_finite(number, samples)
            self._maps[number] = samples
        return self._maps[number]

    def _check_finite(self, number: int, samples: np.ndarray) -> None:
        """Raise InputError if a lead of a record is present and has NaN, or values that no `Recording` has."""
        finite = (samples > -MOST_MV) & (samples < MOST_MV)
        for index in np.flatnonzero(self._shard == number).tolist():
            first, size = self._offset[index], len(self.leads) * self.lengths[index]
            broken = ~finite[first : first + size].reshape(len(self.leads), -1).all(axis=1) & ~np.isnan(
                self.mean[index]
            )
            if broken.any():
                lead = self.leads[int(broken.argmax())]
                raise InputError(
                    f"{self.path}: record '{self.ids[index]}': lead '{lead}' has NaN or infinite values, which a "
                    "store never contains; prepare the store again"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Drop the memory maps, which would be pickled as copies of the files."""
        return self.__dict__ | {"_maps": {}}

    def _check_bounds(self) -> None:
        sizes = []
        for shard in self.manifest.shards:
            path = self.path / SHARDS / shard.file
            with _needed():
                size = regular_size(path)
            if size != shard.bytes:
                damage = f"it has {size} bytes instead of {shard.bytes}"
                raise InputError(f"{path}: is damaged: {damage}; prepare the store again")
            if size % 4:
                raise InputError(f"{path}: is damaged: it ends within a sample; prepare the store again")
            sizes.append(size // 4)
        where = self.path / INDEX
        if len(self) != self.manifest.records:
            raise InputError(f"{where}: does not match {MANIFEST}, which has {self.manifest.records} records")
        wrong = (self._shard < 0) | (self._shard >= len(sizes)) | (self.lengths < 1) | (self._offset < 0)
        rest = np.array([*sizes, 0])[np.where(wrong, len(sizes), self._shard)] - self._offset
        wrong |= self.lengths > rest // len(self.leads)  # a product of the lengths might overflow
        if wrong.any():
            record = self.ids[int(wrong.argmax())]
            raise InputError(f"{where}: record '{record}' lies beyond the end of its shard; prepare the store again")


def recognise(folder: Path) -> bool:
    """Whether a folder is a store, complete or damaged."""
    return (folder / SHARDS).is_dir() and any((folder / name).is_file() for name in (MANIFEST, INDEX))


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    """The whole store as one entry, so that this module is a `Layout`. Raises InputError if a unit is passed."""
    if unit is not None:
        raise InputError(f"{folder}: is a store, and stores are in mV; pass the unit to 'anyjepa data prepare' instead")
    yield Entry(str(folder), partial(Store, folder), (folder / MANIFEST,))  # it contains the checksums of the others


def stores_in(path: Path) -> list[Path]:
    """The path itself if it is a store, else the stores directly in it, sorted by name."""
    if recognise(path):
        return [path]
    return sorted(child for child in path.iterdir() if recognise(child)) if path.is_dir() else []


def checksum(content: Any) -> str:
    return f"{zlib.crc32(content):08x}"


@contextmanager
def _needed() -> Iterator[None]:
    """Add advice to errors about files that a store needs."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; prepare the store again") from error


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    with _needed():
        plain = read_json(file, limit=None)
    if not isinstance(plain, dict) or plain.get("kind") != _KIND:
        raise InputError(f"{file}: is not the manifest of a store")
    if type(version := plain.get("version")) is not int:
        raise InputError(f"{file}: version must be a whole number, not {version!r}")
    if version > VERSION:
        raise InputError(
            f"{file}: has version {version}, but this anyjepa reads versions up to {VERSION}; update anyjepa"
        )
    return validated(Manifest, plain, str(file))


def _read_index(path: Path, manifest: Manifest) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / INDEX
    try:
        with _needed():
            content = read_bytes(file, limit=None)
        if checksum(content) != manifest.index:
            raise InputError(f"{file}: is damaged: its checksum differs from {MANIFEST}; prepare the store again")
        # One thread, because a process that ends soon after a threaded read can abort (pyarrow 26).
        parquet = pq.ParquetFile(pa.BufferReader(content))
        check_size(declared_size(parquet.metadata, ROW_BYTES), len(content), f"{file}")
        table = parquet.read(use_threads=False)
        table.validate(full=True)  # texts in UTF-8, lists within their values
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}); prepare the store again") from None
    except pa.ArrowException as error:
        raise InputError(f"{file}: cannot be read as Parquet ({reason(error)}); prepare the store again") from None
    if wrong := _wrong_with(table, len(manifest.settings.leads)):
        raise InputError(f"{file}: is not an index of a store: {wrong}; prepare the store again")
    return table


def index_schema() -> Any:
    """The columns of the index."""
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        {
            "id": text, "patient": text, "source": text, "statements": pa.list_(text),
            "likelihoods": pa.list_(number), "age": number, "sex": text, "split": text,
            "marks": pa.list_(whole), "symbols": pa.list_(text), "derived": pa.list_(text),
            "shard": pa.int32(), "offset": whole, "samples": whole,
            "mean": pa.list_(number), "squares": pa.list_(number),
        }
    )  # fmt: skip


def _wrong_with(table: Any, leads: int) -> str | None:
    """Reason why a table cannot be the index of a store with this number of leads."""
    import pyarrow.compute as pc

    for field in index_schema():
        if table.column_names.count(field.name) != 1:
            return f"it needs one column '{field.name}'"
        column = table[field.name]
        if column.type != field.type:
            return f"column '{field.name}' is {column.type} instead of {field.type}"
        if field.name not in _UNKNOWN and column.null_count:
            return f"column '{field.name}' has gaps"
    for name in ("statements", "marks", "symbols", "derived", "mean", "squares"):
        if pc.list_flatten(table[name]).null_count:  # pyright: ignore[reportAttributeAccessIssue]
            return f"column '{name}' has gaps in its lists"
    if not len(table):
        return "it has no records"
    for name, values in (("age", table["age"]), ("likelihoods", pc.list_flatten(table["likelihoods"]))):  # pyright: ignore[reportAttributeAccessIssue]
        if not pc.all(pc.is_finite(values), min_count=0).as_py():  # pyright: ignore[reportAttributeAccessIssue]
            return f"column '{name}' has NaN or infinite values"
    if strange := set(table["split"].unique().to_pylist()) - {None, *get_args(Part)}:
        return f"split '{min(strange)}' is not one of {', '.join(get_args(Part))}"
    measure = pc.list_value_length  # pyright: ignore[reportAttributeAccessIssue]
    if pc.count_distinct(table["id"]).as_py() < len(table):  # pyright: ignore[reportAttributeAccessIssue]
        return "an id occurs twice"
    lengths = {name: measure(table[name]).fill_null(-1).to_numpy() for name in _LISTS}
    for one, other in (("statements", "likelihoods"), ("marks", "symbols")):
        if (lengths[one] != lengths[other]).any():
            return f"lists in the columns '{one}' and '{other}' differ in length"
    for name in ("mean", "squares"):
        if (lengths[name] != leads).any():
            return f"column '{name}' needs one value for each of {leads} leads"
        if np.isinf(_matrix(table[name])).any():
            return f"column '{name}' has infinite values"
    return None


def _annotations(marks: list[int] | None, symbols: list[str]) -> Annotations | None:
    return None if marks is None else Annotations(np.array(marks, np.int64), tuple(symbols))


def _matrix(column: Any) -> np.ndarray:
    """A column of lists of equal length as (N, L)."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
