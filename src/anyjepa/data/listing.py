"""List the files of a folder that can be read, and report everything else in it."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyjepa.data.files import check_name
from anyjepa.data.mounts import inside
from anyjepa.errors import DataWarning, InputError, one_line

SIMULATED = "simulator"  # source of simulated records
TABLES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".xlsx", ".xls", ".yaml", ".yml", ".xml")
"""Extensions of files that may contain labels of images or videos, but never images or videos."""

_NOTES = (*TABLES, ".txt", ".srt", ".vtt")  # notes on a data file if they have its name
_LABELS = re.compile(
    r"((.*[-_.])?(labels?|annotations?|metadata|database|class_names)|classes|demographics|diagnoses|dictionary|folds"
    r"|index|info|notes|participants|patients|reference|sample_submission|splits?|subjects)"
    rf"({'|'.join(map(re.escape, _NOTES))})"
)
_DOCUMENTS = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|citation|authors|checksums?|md5sums?|sha\d*sums?|records|annotators)"
    r"([-_].*)?(\.(txt|md|rst|html?|pdf|cff|bib))?|readme\..*\.txt|.*\.(md|rst|bib|md5|sha\d+)"
)
_SYSTEM = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "@eadir", "$recycle.bin", "lost+found",
    "system volume information", ".git", ".svn", ".hg", ".dvc", ".cache", ".ipynb_checkpoints", ".idea", ".vscode",
    ".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".appledouble", ".thumbnails", ".snapshot",
})  # fmt: skip
_SHOWN = 3  # most names in a message


@dataclass(frozen=True)
class Listing:
    """Content of a folder, sorted by path. `others` have extensions that are not read."""

    root: Path
    files: list[Path]
    others: list[Path]
    folders: list[Path]  # the root first, without those in `claimed`
    hidden: list[Path]
    unfollowed: dict[Path, str]  # link: reason

    def only(self, files: Collection[Path], belonging: Collection[Path]) -> Listing:
        """Restrict the files that are read to `files`. belonging: files that are parts of these, and not reported."""
        rest = set(self.files).difference(files, belonging)
        others = [path for path in self.others if path not in belonging]
        return replace(self, files=list(files), others=sorted([*others, *rest]))

    @property
    def endings(self) -> str:
        """Number of files per extension that are not read: '10 .bmp, 2 .txt'."""
        counts = Counter(_ending(path) for path in self.others)
        return ", ".join(f"{count} {ending}" for ending, count in counts.most_common())

    def remarks(self) -> list[str]:
        """One line per kind of entry that is not read, and one for names that some file systems do not distinguish."""
        lines = []
        if count := len(self.others):
            lines.append(f"{counted(count, 'file is', 'files are')} not read: {self.endings}")
        if count := len(self.hidden):
            lines.append(f"{counted(count, 'hidden file or folder is', 'hidden files and folders are')} not read: "
                         f"{self.shown(self.hidden)}")  # fmt: skip
        if count := len(self.unfollowed):
            links = [f"{self.name(path)} ({why})" for path, why in list(self.unfollowed.items())[:_SHOWN]]
            more = ", ..." if count > _SHOWN else ""
            lines.append(f"{counted(count, 'link is', 'links are')} not followed: {', '.join(links)}{more}")
        if alike := _alike(self.root, [*self.folders, *self.files]):
            lines.append(f"names differ only in letter case, spaces or Unicode form: {', '.join(alike[:_SHOWN])}")
        return [f"{self.root}: {line}" for line in lines]

    def name(self, path: Path) -> str:
        """A path relative to the root."""
        return path.relative_to(self.root).as_posix()

    def shown(self, paths: Sequence[Path]) -> str:
        """The first few paths."""
        return ", ".join([*map(self.name, paths[:_SHOWN]), *["..."] * (len(paths) > _SHOWN)])


def list_folder(
    root: Path, suffixes: Sequence[str], about: Sequence[str] = (), claimed: Callable[[Path], bool] | None = None
) -> Listing:
    """List all files under `root` with these (lower-case) extensions, in any letter case, regular files or not.

    about: extensions of files about the data. These are ignored silently, like documents, tables of labels (recognised
    by name) and files of the operating system. claimed: returns whether another reader handles a folder.

    Links are followed, except to a parent folder and to files that are already read under their own names. A broken
    link to a file is listed as a file. Raises InputError for a folder that cannot be read.
    """
    check_name(root)
    walk = _Walk(tuple(suffixes), tuple(about))
    walk.enter([root], claimed or (lambda folder: False))
    walk.resolve_files()
    notes = {path for path in walk.others if path.suffix.lower() in _NOTES}
    stems = {path.with_suffix("") for path in walk.files} if notes else set()
    others = [path for path in walk.others if not (path in notes and path.with_suffix("") in stems)]
    unfollowed = {path: walk.unfollowed[path] for path in sorted(walk.unfollowed)}
    hidden = sorted(walk.hidden)
    return Listing(root, sorted(walk.files), sorted(others), list(walk.places), hidden, unfollowed)


def set_name(folder: Path) -> str:
    """Name of the data in a folder, which is never SIMULATED."""
    name = one_line(folder.resolve().name)
    return f"{name} (folder)" if name == SIMULATED else name


def tell(remarks: Iterable[str], into: list[str] | None) -> None:
    """Append remarks to a list; if it is None, issue each as a DataWarning."""
    if into is not None:
        into += remarks
        return
    for remark in remarks:
        warnings.warn(remark, DataWarning, stacklevel=3)


def counted(count: int, one: str, several: str) -> str:
    """A number with its noun in the singular or plural, such as '2 files'."""
    return f"{count} {one if count == 1 else several}"


@dataclass
class _Walk:
    """Walk folders before links, so that a file is read under its own name and not under that of a link."""

    suffixes: tuple[str, ...]
    about: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    unfollowed: dict[Path, str] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)  # folder: its resolved path
    entered: dict[str, Path] = field(default_factory=dict)  # the reverse
    folder_links: list[Path] = field(default_factory=list)
    file_links: list[Path] = field(default_factory=list)

    def enter(self, todo: list[Path], claimed: Callable[[Path], bool]) -> None:
        """Walk through folders first, then through links to folders."""
        while todo or self.folder_links:
            folder = todo.pop() if todo else self.folder_links.pop(0)
            place = os.path.realpath(folder)
            if folder.is_symlink() and Path(self.places.get(folder.parent, "")).is_relative_to(place):
                self.unfollowed[folder] = "to a parent folder"
            elif place in self.entered:
                self.unfollowed[folder] = f"to {self.entered[place]}, which is already read"
            else:
                self.places[folder], self.entered[place] = place, folder
                if claimed(folder):
                    del self.places[folder]
                else:
                    todo += reversed(self._look_into(folder))

    def resolve_files(self) -> None:
        """Resolve links to files, once all folders are known."""
        sources = {os.path.join(self.places[path.parent], path.name): path for path in self.files if self.file_links}
        for link in sorted(self.file_links):
            if not link.name.lower().endswith(self.suffixes):
                self._sort(link)
            elif (target := os.path.realpath(link)) in sources:
                self.unfollowed[link] = f"to {sources[target]}, which is already read"
            else:
                sources[target] = link
                self.files.append(link)

    def _look_into(self, folder: Path) -> list[Path]:
        """Return the subfolders, and sort all other entries."""
        folders = []
        for entry, is_folder, link in _entries(folder):
            path, name = folder / entry, entry.lower()
            if name in _SYSTEM or name.startswith(("._", ".trash")):
                continue
            if name.startswith("."):
                if is_folder or name.endswith(self.suffixes):
                    self.hidden.append(path)
            elif is_folder:
                (self.folder_links if link else folders).append(path)
            elif link and os.path.exists(path):
                self.file_links.append(path)
            elif link and not name.endswith(self.suffixes):
                self.unfollowed[path] = "broken"
            else:
                self._sort(path)
        return folders

    def _sort(self, path: Path) -> None:
        name = path.name.lower()
        if _LABELS.fullmatch(name) or _DOCUMENTS.fullmatch(name):
            return
        if name.endswith(self.suffixes):
            self.files.append(path)
        elif not name.endswith(self.about):
            self.others.append(path)


def _entries(folder: Path) -> list[tuple[str, bool, bool]]:
    """All entries of a folder, sorted: name, whether it is a folder or a link to one, and whether it is a link."""
    if (place := inside(folder)) is not None:
        return sorted((name, is_folder, False) for name, is_folder in place.container.folders[place.name].items())
    try:
        with os.scandir(folder) as entries:
            children = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    links = [entry.is_symlink() for entry in children]
    return [
        (entry.name, os.path.isdir(folder / entry.name) if link else entry.is_dir(), link)
        for entry, link in zip(children, links, strict=True)
    ]


def _ending(path: Path) -> str:
    return path.suffix.lower() if re.fullmatch(r"\.[\w~]{1,15}", path.suffix) else "without an ending"


def _alike(root: Path, paths: Iterable[Path]) -> list[str]:
    """Names in one folder that differ only in letter case, trailing spaces or Unicode form, as 'A.png = a.png'."""
    names: dict[str, list[Path]] = {}
    for path in paths:
        name = path.name.rstrip()
        names.setdefault(unicodedata.normalize("NFC", f"{path.parent}/{name}").casefold(), []).append(path)
    same = [paths for paths in names.values() if len(paths) > 1 and len({path.parent for path in paths}) == 1]
    return [" = ".join(sorted(path.relative_to(root).as_posix() for path in paths)) for paths in same]
