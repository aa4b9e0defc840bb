from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from anyjepa.data.files import held, regular_size
from anyjepa.errors import InputError


def test_the_size_of_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "link").symlink_to("a")
    assert regular_size(tmp_path / "a") == regular_size(tmp_path / "link") == 3


def test_what_may_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's address is short
    os.mkfifo("fifo")
    Path("device").symlink_to("/dev/zero")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for kind in ("FIFO", "device", "folder", "socket"):
            with pytest.raises(InputError, match=f"^{kind.lower()}: is a {kind}; only regular files are read$"):
                regular_size(Path(kind.lower()))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in (
        ("none", "there is no such file or folder"),
        ("loop", "cannot be read"),
        ("x" * 300, "cannot be"),
    ):
        with pytest.raises(InputError, match=reason):
            regular_size(tmp_path / name)


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "FIFO"), (os.mkdir, "folder")])
def test_a_lock_that_is_no_file_is_refused_at_once(tmp_path: Path, make, kind: str) -> None:
    make(tmp_path / ".lock")
    with (
        pytest.raises(InputError, match=rf"\.lock: is a {kind}; only regular files are read"),
        held(tmp_path / ".lock", "busy"),
    ):
        pass
