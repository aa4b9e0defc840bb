"""The folder of a written answer: its files, and the check that nothing else is replaced."""

from __future__ import annotations

from pathlib import Path

from anyjepa.errors import InputError

TEXT = "answer.txt"
FILES = (  # of a written answer
    *(TEXT, "ranking.csv", "synergy.csv", "genes.csv", "predicted.h5ad", "unseen-*.json"),
    *("volcano-*.png", "measured-*.png", "dose-*.png", "time-*.png", "held-out-*.png"),
    *("cell-eval/*/*-predicted.h5ad", "cell-eval/*/*-real.h5ad"),
    *(".DS_Store", "Thumbs.db", "desktop.ini"),  # of systems that show folders
)


def check_only_answer(folder: Path) -> None:
    """Raise InputError if the folder contains anything but an answer, because it is replaced as a whole."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose another folder")
    of_answer = (folder / TEXT).is_file()
    for entry in folder.rglob("*"):
        name = entry.relative_to(folder)
        ours = any(len(name.parts) == file.count("/") + 1 and name.match(file) for file in FILES)
        if not (of_answer and (ours or (entry.is_dir() and not entry.is_symlink()))):
            where = f"{folder}: contains '{name.as_posix()}', which is not part of an answer"
            raise InputError(f"{where}; move it, or choose another folder")
