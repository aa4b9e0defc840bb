"""User-defined readers, for files that the package cannot read or should read in another way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from anyjepa.data.files import regular_size
from anyjepa.data.mounts import on_disk
from anyjepa.errors import InputError, reason
from anyjepa.parts import Part, full_name, own_parts, place

GROUP = "anyjepa.readers"
T = TypeVar("T")


class Reader(Part):
    """Base class of file readers. An imported reader reads all files with its endings, before the package's readers.

    modality: 'ecg', 'images', 'video' or 'series'. endings: endings of file names, in lower case: ('.xyz', '.xyz.gz').
    """

    modality: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        endings: Any = cls.endings
        if not cls.modality or not isinstance(endings, tuple) or not endings:
            raise InputError(f"class {cls.__qualname__}: set modality = 'ecg' (or another) and endings = ('.xyz',)")
        if wrong := [ending for ending in endings if not ending.startswith(".") or ending != ending.lower()]:
            raise InputError(f"class {cls.__qualname__}: ending '{wrong[0]}' must begin with a dot, in lower case")
        super().__pydantic_init_subclass__(**options)

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read the records of a file. Any error that this raises is shown with the name of the file.

        ecg: a `Recording` or a list of them, where an empty id becomes the file's path in its folder. images: (H, W) or
        (H, W, 1 or 3) uint8. video: (T, H, W) or (T, H, W, 1 or 3) uint8. series: (channels, samples), a `Series`, or
        a list of these.
        """


def endings_of(modality: str, packaged: Sequence[str]) -> tuple[str, ...]:
    """File name endings that can be read: by the package, by imported readers, and by readers of installed packages."""
    own = [ending for reader in _readers(modality) for ending in reader.endings]
    offered = [f".{offer.name}" for offer in entry_points(group=f"{GROUP}.{modality}")]
    return tuple(dict.fromkeys([*packaged, *own, *offered]))


def reader_of(modality: str, path: Path, packaged: Sequence[str]) -> Reader | None:
    """The user's reader for a file, or None. packaged: endings for which installed packages are not searched."""
    name = path.name.lower()
    for reader in _readers(modality):
        if name.endswith(reader.endings):
            return reader()
    for offer in () if name.endswith(tuple(packaged)) else entry_points(group=f"{GROUP}.{modality}"):
        if name.endswith(f".{offer.name}"):
            try:
                return offer.load()()
            except Exception as error:
                raise InputError(f"{path}: the reader {offer.value} cannot be imported: {reason(error)}") from error
    return None


def read_own(modality: str, path: Path, packaged: Sequence[str], check: Callable[[Any], T]) -> T | None:
    """Read a file with the user's reader; returns None if there is none.

    check: converts the result of the reader to the form that the modality needs. Raises InputError if either fails.
    """
    reader = reader_of(modality, path, packaged)
    if reader is None:
        return None
    regular_size(path)
    try:
        with on_disk(path) as real:
            return check(reader.read(real))
    except Exception as error:
        raise InputError(f"{path}: {full_name(type(reader))}: {place(error)}{reason(error)}") from error


def not_read(path: Path, endings: Sequence[str]) -> str:
    """Error message for a file whose ending no reader handles."""
    return (
        f"{path}: cannot read files that end in '{path.suffix}', only {', '.join(endings)}; "
        "--import adds your own reader"
    )


def _readers(modality: str) -> list[type[Reader]]:
    """Imported readers of a modality, the latest definition first."""
    return [reader for reader in own_parts(Reader) if reader.modality == modality][::-1]
