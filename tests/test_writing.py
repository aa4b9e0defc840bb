"""A reader sees the old file or the new one, never half; nobody can foresee or redirect the temporary place."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from anyjepa import writing
from anyjepa.errors import InputError
from anyjepa.writing import remove_leftovers, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_with_its_name_and_the_usual_permissions(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.npz"
    for text in ("one", "two"):
        with replacing(file) as new:
            assert new.name == "a.npz"
            new.write_text(text)
            assert not file.exists() or file.read_text() == "one"
        assert file.read_text() == text
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert names(file.parent) == ["a.npz"]


def write_half(file: Path, error: BaseException) -> None:
    with replacing(file) as new:
        new.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_what_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    kind = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(kind) as raised:
        write_half(file, error)
    if kind is InputError:
        assert str(raised.value) == f"{file}: cannot be written (No space left on device)"
    assert names(tmp_path) == ["a.txt"]
    assert file.read_text() == "old"


def test_the_temporary_place_is_private_and_random(tmp_path: Path) -> None:
    places = set()
    for _ in range(3):
        with replacing(tmp_path / "a.txt") as new:
            new.write_text("x")
            places.add(new.parent.name)
            assert stat.S_IMODE(new.parent.stat().st_mode) == 0o700
    assert len(places) == 3


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "a.txt").symlink_to("precious")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_replaces_a_folder(tmp_path: Path, exchanges: bool) -> None:
    """In one step where the system can exchange two folders, else by two renames."""
    target = tmp_path / "model"
    with mock.patch.object(writing, "_exchange", writing._exchange if exchanges else lambda a, b: False):
        for content in ("one", "two"):
            with replacing(target) as new:
                new.mkdir()
                (new / content).write_text(content)
            assert names(target) == [content]
            assert names(tmp_path) == ["model"]


def test_folders_can_be_exchanged_here(tmp_path: Path) -> None:
    if sys.platform != "linux":
        return
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert writing._exchange(tmp_path / "a", tmp_path / "b")
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["b"], ["a"])


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from anyjepa.writing import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as new: new.write_text('half'); os.kill(os.getpid(), 9)"
    )
    (tmp_path / "a.txt").write_text("old")
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"]).returncode == -9
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(names(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.txt"]


def refused(operation: str) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(errno.EIO, f"no {operation}")

    return fail


@pytest.mark.parametrize("operation", ["os.fsync", "os.replace", "tempfile.mkdtemp"])
def test_each_operation_that_fails_is_one_line(tmp_path: Path, operation: str) -> None:
    (tmp_path / "a.txt").write_text("old")
    with (
        mock.patch(operation, refused(operation)),
        pytest.raises(InputError, match=f"cannot be written \\(no {operation}"),
    ):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"a\.txt: cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "new")
    assert os.listdir(tmp_path) == ["file"]
