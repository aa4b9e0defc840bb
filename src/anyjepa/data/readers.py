"""Readers of your own, for endings that the package does not know, or for files that it reads in another way."""

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
    """Base of readers. One that is imported reads all files with its endings, before the readers of the package.

    modality: 'ecg', 'images', 'video' or 'series'; endings: in lower case, such as ('.xyz', '.xyz.gz').
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
        """The content of a file. Any error that this raises is shown with the file's name.

        ecg: a `Recording` or a list of them, where an empty id becomes the file's path in its folder. images: (H, W) or
        (H, W, 1 or 3) uint8. video: (T, H, W) or (T, H, W, 1 or 3) uint8. series: (channels, samples), a `Series`, or
        a list of these.
        """


def endings_of(modality: str, packaged: Sequence[str]) -> tuple[str, ...]:
    """The endings that are read: those of the package, of imported readers, and those that installed packages offer."""
    own = [ending for reader in _readers(modality) for ending in reader.endings]
    offered = [f".{offer.name}" for offer in entry_points(group=f"{GROUP}.{modality}")]
    return tuple(dict.fromkeys([*packaged, *own, *offered]))


def reader_of(modality: str, path: Path, packaged: Sequence[str]) -> Reader | None:
    """The user's reader of a file; None if there is none. packaged: endings for which none is searched elsewhere."""
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
    """What the user's reader makes of a file, None if there is no such reader.

    check: turns what it returns into what the modality needs. Raises InputError if either fails.
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
    """The message for a file whose ending nothing reads."""
    return (
        f"{path}: cannot read files that end in '{path.suffix}', only {', '.join(endings)}; "
        "--import adds a reader of your own"
    )


def _readers(modality: str) -> list[type[Reader]]:
    """The latest definition first."""
    return [reader for reader in own_parts(Reader) if reader.modality == modality][::-1]
