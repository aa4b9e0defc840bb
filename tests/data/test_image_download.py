"""Downloads from a server on this machine: whole, checked, gone on with, and explained where there is no network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from anyjepa.data.images.sets import download as module
from anyjepa.data.images.sets.download import SETS, download
from anyjepa.errors import InputError

CONTENT = bytes(range(256)) * 40
NAME = SETS["cifar10"].archive


class Server(BaseHTTPRequestHandler):
    """Knows ranges; /short/ promises more bytes than it sends."""

    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.asked.append(asked)
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if "missing" in self.path or first >= len(CONTENT):
            self.send_error(416 if first else 404)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        self.wfile.write(CONTENT[first:5000] if "short" in self.path else CONTENT[first:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that has CIFAR-10, with its checksum."""
    layout = SETS["cifar10"].__class__(**{**vars(SETS["cifar10"]), "md5": hashlib.md5(CONTENT).hexdigest()})
    monkeypatch.setitem(SETS, "cifar10", layout)
    monkeypatch.setenv("no_proxy", "*")
    Server.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(module, "SITE", address)
        yield address
        server.shutdown()


def test_it_is_there_whole_and_fetched_once(site, tmp_path, cli, monkeypatch):
    done = cli("data", "download", "cifar10", "--output", tmp_path / "sets")
    assert done.code == 0, done.err
    path = Path(done.out.strip())
    assert path == tmp_path / "sets" / NAME
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [NAME]
    assert download("cifar10", path.parent) == path
    assert Server.asked == [None]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert download("cifar10") == tmp_path / "cache" / "anyjepa" / "data" / NAME


@pytest.mark.parametrize("there", [5000, len(CONTENT)])
def test_it_goes_on_with_what_is_there(there, site, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:there])
    assert download("cifar10", tmp_path).read_bytes() == CONTENT
    assert Server.asked == [f"bytes={there}-"]


def test_a_connection_that_ends_early_keeps_what_came(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SITE", f"{site}/short")
    with pytest.raises(InputError, match="the connection ended early"):
        download("cifar10", tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:5000]
    monkeypatch.setattr(module, "SITE", site)
    assert download("cifar10", tmp_path).read_bytes() == CONTENT


def test_other_bytes_are_not_kept(site, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"came with MD5 \w+, not the published"):
        download("cifar10", tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(InputError, match="is not the published"):
        download("cifar10", tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "{site}/missing"])
def test_without_an_answer_it_says_what_to_do(address, site, tmp_path, monkeypatch, cli):
    monkeypatch.setattr(module, "SITE", address.format(site=site))
    done = cli("data", "download", "cifar10", "-o", tmp_path)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert "download it elsewhere" in line
    assert f"copy it to {tmp_path / NAME} and pass --data {tmp_path / NAME}" in line


def test_an_unknown_set_and_a_place_that_is_taken(site, tmp_path):
    with pytest.raises(InputError, match=r"data set 'cifar11' cannot be downloaded; did you mean 'cifar10'\?"):
        download("cifar11", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="stopped"):
        download("cifar10", tmp_path / "file")
