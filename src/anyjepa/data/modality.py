"""The parts of a modality. To add one, define these parts and pass them to `Modality`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from anyjepa.data.array_likes import as_records
from anyjepa.data.dataset import Dataset
from anyjepa.data.files import Content
from anyjepa.data.graph import GraphInput
from anyjepa.data.samples import ArraySamples, Samples
from anyjepa.errors import InputError
from anyjepa.parts import Part, kinds_of

if TYPE_CHECKING:
    from rich.console import RenderableType

Drawing = Literal["ecg", "series", "images", "video"]


class _Inputs(Part):
    """Facts about an encoder's input that the settings and the preprocessing of a modality share."""

    if TYPE_CHECKING:  # a subclass has these as fields or as properties

        @property
        def channels(self) -> int: ...

        @property
        def size(self) -> tuple[int, ...]: ...  # samples of a full input along each axis

    @property
    def other(self) -> tuple[int, ...] | None:
        """Size of the second record of a pair; None if both records are of the same kind."""
        return None

    @property
    def condition_dim(self) -> int | None:
        """Width of the condition that comes with a pair; None if a pair is two views of a record."""
        return None

    @property
    def absolute(self) -> bool:
        """Whether positions count from the record's start instead of the crop's."""
        return False


class DataConfig(_Inputs):
    """Base of the `data:` section of a recipe. Its kind names the modality."""

    embedded: ClassVar[str] = "simulator"  # the key of the embedded data set, which has a seed

    @property
    def absent(self) -> bool:
        """Whether channels may be missing from an input. Missing channels are NaN."""
        return False

    @property
    def crop_size(self) -> tuple[int, ...]:
        """Samples of a training crop along each axis; by default `size`."""
        return self.size

    @property
    def weighted(self) -> str:
        """The keys that draw some records more often than others; '' if all are drawn equally often."""
        return ""

    @property
    def protocol(self) -> str:
        """The protocol that evaluates a model of these data by default."""
        return "linear"


class Preprocessing(_Inputs):
    """Base of the preprocessing that prepares records for an encoder. It is saved as `preprocessing.json`."""

    if TYPE_CHECKING:

        def prepare(self, raw: Any) -> np.ndarray: ...  # a raw record to (C, *samples) float32; raises InputError

    @property
    def fixed_size(self) -> bool:
        """Whether every record has exactly `size`, so that the encoder must have it, too."""
        return False

    @property
    def rate(self) -> float | None:
        """Samples per second along the first axis; None if that axis is not time or the rate is unknown."""
        return None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, for figures; empty if they have no names."""
        return ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Names of the samples along the first axis, such as genes; empty if they have no names."""
        return ()

    def restore(self, x: np.ndarray, source: str) -> np.ndarray:
        """Undo the standardisation of a record (C, *samples), for figures. source: name of the record's data set."""
        return x

    def is_single(self, raw: np.ndarray) -> bool:
        """Whether an array of raw values is one record instead of several."""
        return raw.ndim == 1 + len(self.size)


class Inspection(NamedTuple):
    """How `anyjepa data inspect` describes a data set."""

    inspect: Callable[..., dict[str, Any]]  # (paths, **options) -> values that JSON can hold
    render: Callable[[dict[str, Any]], RenderableType]
    recognise: Callable[[Path], bool]  # whether a path holds such data, by file names alone
    options: tuple[str, ...] = ()


def single(paths: Sequence[Path | str], what: str) -> Path | str:
    """Return the only path. Raises InputError if there are none or several."""
    if len(paths) != 1:
        raise InputError(f"pass one {what} at a time, not {len(paths)}")
    return paths[0]


class Usage(NamedTuple):
    """How the card of a model shows `Model.embed`."""

    arguments: str
    layout: str  # shapes of the arguments, in words
    fixed: str = ""  # word for the samples of an input, if every record must have all of them
    sizes: str = "shorter inputs of whole patches are allowed"  # of the inputs, if they may differ
    wrong: str = "rate, unit, order of channels or scale"  # what gives meaningless results if it differs
    caution: str = ""  # a line under 'Limits'


class Requests(NamedTuple):
    """Form of a request to `anyjepa serve`: an object with these keys and the options of the modality."""

    key: str  # key of the values, such as 'signals'
    pixels: bool = False  # whether values are uint8
    more: tuple[str, ...] = ()  # further keys
    raw: Callable[[Mapping[str, Any]], Any] | None = None  # object -> raw records; None: the values
    files: Mapping[str, Callable[[Content], dict[str, Any]]] = {}  # media type -> converts a file to an object


ARRAYS = Requests("records")


def prepare_arrays(preprocessing: Any, raw: Any) -> Samples:
    """Prepare one raw record, or an array or list of them, for an encoder. Raises InputError."""
    records = as_records(raw, preprocessing.kind)
    if isinstance(records, np.ndarray) and preprocessing.is_single(records):
        records = records[None]
    signals = each(records, preprocessing.prepare)
    return ArraySamples(tuple(map(str, range(len(signals)))), signals)


def each(records: Sequence[Any] | np.ndarray, do: Callable[[Any], np.ndarray]) -> list[np.ndarray]:
    """Apply a function to every record. If there are several, an InputError says which record caused it."""
    done = []
    for place, record in enumerate(records):
        try:
            done.append(do(record))
        except InputError as error:
            raise InputError(f"record {place}: {error}" if len(records) > 1 else str(error)) from error
    return done


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A kind of data, such as ECGs: the functions and classes through which the rest of the library uses it.

    training_data(config, paths, exclude) returns the records that a recipe trains on, standardised by their own
    statistics; without paths, those of the training part of the embedded data set. exclude: ids to leave out.
    evaluation_data(preprocessing, paths, config, on_error, **options) returns all records as a model sees them, with
    their labels; without paths, those of the embedded data set of `config`.
    training_arrays(config, records, exclude, **options) is like training_data, for `Records` in memory; None: training
    only reads files. graph(preprocessing, patch, longest, **options) returns the preprocessing for `anyjepa export`;
    None: models cannot be exported. All of them raise InputError for data that cannot be used.
    """

    config: type[DataConfig]
    preprocessing: type[Preprocessing]
    dataset: type[Dataset]
    training_data: Callable[..., Dataset]
    evaluation_data: Callable[..., Dataset]
    prepare_arrays: Callable[..., Samples] = prepare_arrays  # (preprocessing, raw, **options)
    training_arrays: Callable[..., Dataset] | None = None
    graph: Callable[..., GraphInput] | None = None
    options: tuple[str, ...] = ()  # facts that files and arrays may lack, such as the sampling rate
    parallel: bool = False  # whether evaluation_data takes `workers`, the number of reading processes
    inspection: Inspection | None = None
    drawing: Drawing | None = None  # how reports draw records; None: they do not
    usage: Usage | None = None
    requests: Requests = ARRAYS

    @property
    def kind(self) -> str:
        """The name of the modality: the `kind` of its config."""
        return kinds_of(self.config)[0]

    @property
    def records(self) -> str:
        """Word for the records, such as 'ECGs'."""
        return self.dataset.what[0]
