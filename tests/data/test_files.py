from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.files import Content, check_name, opened, read_bytes, read_json, read_text, regular_size
from anyjepa.errors import InputError


def test_the_size_of_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "link").symlink_to("a")
    assert regular_size(tmp_path / "a") == regular_size(tmp_path / "link") == 3


def test_a_file_in_memory_is_opened_like_one_on_disk() -> None:
    content = Content(b"secret", "the body")
    with opened(content) as file:
        assert file.read() == b"secret"
    assert (regular_size(content), str(content)) == (6, "the body")
    assert "secret" not in repr(content)


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


def test_a_broken_link_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("gone/b")
    with pytest.raises(InputError, match=r"/a: is a broken link to gone/b$"):
        opened(tmp_path / "a")


@pytest.mark.parametrize("reader", [opened, regular_size, read_bytes, read_text])
def test_no_reader_waits_for_a_fifo(tmp_path: Path, reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a regular file is replaced by one between the check and the opening."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="is a FIFO"):
        reader(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"")
    regular = os.stat(tmp_path / "file")
    monkeypatch.setattr(Path, "stat", lambda self: regular)
    with pytest.raises(InputError, match="fifo: is a FIFO"):
        reader(tmp_path / "fifo")


def test_text_is_utf8_with_or_without_a_mark_and_not_larger_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    for content in ("M\u00fcller", "\ufeffM\u00fcller"):
        path.write_text(content, encoding="utf-8")
        assert read_text(path) == "M\u00fcller"
    path.write_bytes("M\u00fcller".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt: is not UTF-8 text \(byte 1\)$"):
        read_text(path)
    monkeypatch.setenv("ANYJEPA_LIMIT_DOCUMENT", "5B")
    with pytest.raises(InputError, match=r"a\.txt needs 6 B, more than the limit of 5 B"):
        read_bytes(path)


@given(name=st.text(st.characters(blacklist_characters="/"), min_size=1))
def test_a_name_is_refused_exactly_if_a_line_of_a_text_file_cannot_hold_it(name: str) -> None:
    one_line = name.isprintable() or (len(name.splitlines()) == 1 and not any(ord(c) < 32 for c in name))
    try:
        whole = one_line and name.encode().decode() == name
    except UnicodeEncodeError:
        whole = False
    try:
        check_name(name)
    except InputError as error:
        assert "rename it" in str(error)  # noqa: PT017
        assert not whole or any(0x7F <= ord(c) < 0xA0 for c in name)
    else:
        assert whole


def test_a_refused_name_is_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"M\xfcller.hea")
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"M\\udcfcller\.hea: its name contains bytes that are not UTF-8; rename it$"):
        opened(path)
    with pytest.raises(InputError, match=r"a\\nb: its name contains a control character; rename it$"):
        opened(tmp_path / "a\nb")


@pytest.mark.parametrize("content", [b'{"a": "\\ud800"}', b'{"\\uDFFF": 1}', b'["\xed\xa0\x80"]'])
def test_half_a_character_in_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: is not JSON"):
        read_json(tmp_path / "a.json")


def test_whole_characters_in_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'["\\ud83d\\ude00", "\xc2\xb5V", "\\\\ud800"]')
    assert read_json(tmp_path / "a.json") == ["\U0001f600", "\u00b5V", "\\ud800"]
