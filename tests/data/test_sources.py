"""Archives, URLs and standard input are read like the folder or file that they hold; hostile ones are refused."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from wfdb_writing import write_record

from anyjepa.data.class_folders import class_files
from anyjepa.data.ecg.reading import read
from anyjepa.data.files import read_bytes
from anyjepa.data.images.reading import read_images
from anyjepa.data.mounts import Container, all_mounted, inside, on_disk
from anyjepa.data.sources import STDIN, readable
from anyjepa.errors import InputError

PACKED = [".zip", ".tar", ".tar.gz", ".tgz"]


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """An archive of the kind that the ending says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


PHOTOS = {"cat/1.png": png(10), "cat/2.png": png(20), "dog/1.png": png(30)}


def contents(path: Path, remarks: list[str] | None = None) -> dict[str, bytes]:
    """Everything in a source that looks like an image, by id. remarks: see `class_files`."""
    remarks = [] if remarks is None else remarks
    with readable([path]) as (found,):
        return {file.id: read_bytes(file.path) for file in class_files(found, (".png",), "image", remarks)}


def contents_or_error(path: Path) -> dict[str, bytes] | str:
    try:
        return contents(path)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("ending", PACKED)
def test_an_archive_is_read_like_its_folder(tmp_path, ending):
    for name, content in PHOTOS.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    folder = read_images(tmp_path / "photos")
    path = pack(tmp_path / f"photos{ending}", {"./README.md": b"", "__MACOSX/cat/._1.png": b"", **PHOTOS})
    with readable([path]) as (found,):
        packed = read_images(found)
        assert packed.ids == folder.ids == tuple(PHOTOS)
        assert packed.labels["class"].classes == ("cat", "dog")
        for place in range(3):
            assert np.array_equal(packed.images[place], folder.images[place])
    with pytest.raises(InputError):  # it is an ordinary file again
        read_bytes(path / "cat/1.png")


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_images_with_a_list_called_train_are_not_cifar(tmp_path, ending):
    with readable([pack(tmp_path / f"x{ending}", PHOTOS | {"lists/train": b"cat/1"})]) as (path,):
        assert read_images(path, remarks=[]).ids == tuple(PHOTOS)


@pytest.mark.parametrize("ending", PACKED)
def test_wfdb_records_of_two_files_are_read_from_archives(tmp_path, ending):
    signal = np.random.default_rng(0).normal(size=(2, 500)).round(3).astype(np.float32)
    write_record(tmp_path / "made" / "a" / "r1", signal, 250, ["I", "II"])
    files = {f"a/{file.name}": file.read_bytes() for file in (tmp_path / "made" / "a").iterdir()}
    assert {Path(name).suffix for name in files} == {".hea", ".dat"}
    with readable([pack(tmp_path / f"x{ending}", files)]) as (found,):
        (record,) = read(found, warn=False).recordings
    (expected,) = read(tmp_path / "made", warn=False).recordings
    assert (record.id, record.fs, record.leads) == ("a/r1", 250, ("I", "II"))
    assert np.array_equal(record.signal, expected.signal)


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.csv", "x.parquet"])
def test_arrays_and_tables_are_read_from_archives(tmp_path, name):
    import pandas as pd

    file, signal = tmp_path / name, np.random.default_rng(0).normal(size=(400, 2))
    {
        "x.npz": lambda: np.savez(file, signals=signal.T[None], fs=100.0, leads=["I", "II"], unit="mV"),
        "x.npy": lambda: np.save(file, signal.T[None]),
        "x.csv": lambda: pd.DataFrame(signal, columns=["I", "II"]).to_csv(file, index=False),
        "x.parquet": lambda: pd.DataFrame(signal, columns=["I", "II"]).to_parquet(file),
    }[name]()
    how: dict[str, Any] = (
        {"fs": None, "leads": None, "unit": None} if name == "x.npz" else {"fs": 100, "leads": None, "unit": "mV"}
    )
    how["leads"] = ["I", "II"] if name == "x.npy" else None
    with readable([pack(tmp_path / "x.zip", {name: file.read_bytes()})]) as (found,):
        (record,) = read(found, warn=False, **how).recordings
    (expected,) = read(file, warn=False, **how).recordings
    assert np.array_equal(record.signal, expected.signal)


def encrypted() -> bytes:
    """A zip file whose member says that it is encrypted."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.png", b"secret")
    content = bytearray(out.getvalue())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def link(target: str) -> bytes:
    """A tar file with a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)
    return out.getvalue()


def of_size(size: int) -> bytes:
    """A tar file whose second header says this size."""
    headers = [tarfile.TarInfo("a.png"), tarfile.TarInfo("b.png")]
    headers[1].size = size
    return b"".join(header.tobuf(tarfile.GNU_FORMAT) for header in headers) + bytes(1024)


def zipped_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        member = zipfile.ZipInfo("a.png")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    return out.getvalue()


def zipped(names: list[str], content: bytes = b"x", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.zip", lambda: zipped(["../a.png"]), "'../a.png' is not the name of a file inside it"),
        ("x.zip", lambda: zipped(["/etc/a.png"]), "'/etc/a.png' is not the name of a file inside it"),
        ("x.zip", lambda: zipped(["a/../../b.png"]), "is not the name of a file inside it"),
        ("x.zip", lambda: zipped(["C:\\a.png"]), "is not the name of a file inside it"),
        ("x.zip", lambda: zipped(["a.png", "a.png"]), "'a.png' occurs twice"),
        ("x.zip", lambda: zipped(["a", "a/b.png"]), "'a' is both a file and a folder"),
        ("x.zip", encrypted, "'a.png' is encrypted; decrypt the archive first"),
        ("x.zip", zipped_link, "'a.png' is a link or a special file"),
        ("x.zip", lambda: zipped(["a.png"], method=zipfile.ZIP_LZMA), "compressed by a method other than deflate"),
        ("x.zip", lambda: b"PK\3\4", "cannot be read, so the archive is damaged"),
        ("x.zip", lambda: b"", "cannot be read, so the archive is damaged"),
        ("x.tar", lambda: link("/etc/passwd"), "'a.png' is a link or a special file"),
        ("x.tar", lambda: link("../../b.png"), "'a.png' is a link or a special file"),
        ("x.tar", lambda: of_size(-512), "'b.png' has a negative size; the archive is damaged"),
        ("x.tar", lambda: of_size(-1), "'b.png' has a negative size; the archive is damaged"),
        ("x.tar", lambda: of_size(2**60), "ends inside 'b.png', so the archive is damaged"),
        ("x.zip", lambda: zipped(["d/" * 30_000 + "a.png"]), "has more than 1000 characters or 50 folders"),
        ("x.zip", lambda: zipped(["d/" * 51 + "a.png"]), "has more than 1000 characters or 50 folders"),
        ("x.tar", lambda: b"not an archive" * 100, "cannot be read, so the archive is damaged"),
        ("x.tar.gz", lambda: b"\x1f\x8b\x08" + bytes(40), "cannot be read, so the archive is damaged"),
    ],
)  # fmt: skip
def test_hostile_archives_are_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(InputError) as caught:
        contents(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path, ending, monkeypatch):
    path = pack(tmp_path / f"x{ending}", {"a.png": bytes(2 * 10**6), "b.png": bytes(2 * 10**6)})
    for module in ("archives", "mounts"):
        monkeypatch.setattr(f"anyjepa.data.{module}.SMALL", 10**6, raising=False)
    monkeypatch.setattr("anyjepa.limits.SMALL", 10**6)
    with pytest.raises(InputError, match=r"its content, compared with the archive, needs .* ANYJEPA_LIMIT_EXPANSION"):
        contents(path)
    monkeypatch.setenv("ANYJEPA_LIMIT_EXPANSION", "100k")
    assert len(contents(path)) == 2


def test_listing_a_tar_file_takes_little_memory(tmp_path):
    path = pack(tmp_path / "x.tar", {f"{number}.png": b"" for number in range(5000)})
    with readable([path]) as (found,):
        tracemalloc.start()
        try:
            assert len(all_mounted()[found].names) == 5000
            assert tracemalloc.get_traced_memory()[1] < 5000 * 400
        finally:
            tracemalloc.stop()


def test_a_disk_is_not_filled(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYJEPA_LIMIT_DISK", "1kB")
    with pytest.raises(InputError, match=r"x.tar.gz: its content needs .* ANYJEPA_LIMIT_DISK"):
        contents(pack(tmp_path / "x.tar.gz", {"a.png": bytes(2000)}))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize(("ending", "name"), [(".zip", "/a.png"), (".tar", "/a.png"), (".tar.gz", "")])
def test_a_full_disk_is_not_a_damaged_archive(tmp_path, monkeypatch, ending, name):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    monkeypatch.setattr(tempfile, "mkstemp", lambda *_, **__: (os.open("/dev/full", os.O_WRONLY), "/dev/full"))
    with pytest.raises(InputError, match=rf"x{ending}{name}: cannot be copied to a temporary file \(No space left"):
        contents(pack(tmp_path / f"x{ending}", {"a.png": bytes(2000)}))


@pytest.mark.parametrize("ending", PACKED)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_are_read_or_refused(tmp_path, ending, data):
    path = pack(tmp_path / f"x{ending}", PHOTOS)
    content = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    found = contents_or_error(path)
    if isinstance(found, dict):
        assert all(".." not in name.split("/") and not name.startswith("/") for name in found)
    else:
        assert found.startswith(f"{path}")


NAMES = st.lists(
    st.one_of(st.sampled_from(["a", "b", "..", ".", "", "c.png", "\\", "C:"]), st.text(max_size=3)), max_size=4
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES.map("/".join).filter(lambda name: name.isprintable() and name), min_size=1, max_size=4))
def test_no_name_leads_out_of_an_archive(tmp_path, names):
    path = tmp_path / "inner" / "x.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zipped([f"{name}.png" for name in names]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        found = contents_or_error(path)
    assert set(found.values()) == {b"x"} if isinstance(found, dict) else found.startswith(f"{path}")
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["inner", "x.zip"]  # nothing is left, nothing came out


def test_an_archive_in_an_archive_is_not_read(tmp_path):
    remarks: list[str] = []
    path = pack(tmp_path / "x.zip", {"b.png": png(1), "inner.zip": zipped(["a.png"])})
    assert list(contents(path, remarks)) == ["b.png"]
    assert remarks == [f"{path}: 1 file is not read: 1 .zip"]


def test_a_long_name_in_an_archive_is_copied_under_a_shorter_one(tmp_path):
    path, name = tmp_path / "x.zip", "é" * 300 + ".png"
    with readable([pack(path, {name: b"x"})]) as (found,), on_disk(found / name) as real:
        assert (real.suffix, real.read_bytes()) == (".png", b"x")


def test_only_paths_below_a_source_lead_into_it(tmp_path):
    path = pack(tmp_path / "x.zip", PHOTOS)
    with readable([path]) as (found,):
        assert isinstance(all_mounted()[path], Container)
        assert inside(tmp_path) is None
        assert inside(tmp_path / "x.zip2") is None
        with on_disk(found / "cat/1.png") as real:
            assert (real.name, real.read_bytes()) == ("1.png", PHOTOS["cat/1.png"])
        assert not real.parent.exists()
        with pytest.raises(InputError, match="is a folder"):
            read_bytes(found / "cat")
        with pytest.raises(InputError, match="there is no such file"):
            read_bytes(found / "cat/../../etc")
    assert not all_mounted()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (png(1), "stdin.png"),
        (zipped(["a.npy", "b.npy"]), "stdin.npz"),
        (b"I,II\n1,2\n", "stdin.csv"),
        (b"\0" * 128 + b"DICM", "stdin.dcm"),
    ],
)
def test_standard_input_gets_the_ending_of_its_content(monkeypatch, content, name):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    with readable([STDIN]) as (found,):
        assert found.name == name
        assert read_bytes(found) == content
    assert not found.exists()


def test_messages_name_standard_input_instead_of_its_copy(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"I,II\n1,2\n")))
    with pytest.raises(InputError, match=r"^standard input: is short$"), readable([STDIN]) as (found,):
        raise InputError(f"{found}: is short")


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_standard_input_may_be_an_archive(monkeypatch, tmp_path, ending):
    packed = pack(tmp_path / f"x{ending}", PHOTOS).read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(packed)))
    assert contents(STDIN) == PHOTOS


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\0\1\2", "cannot be recognised by its first bytes")]
)
def test_standard_input_of_no_known_kind_is_refused(monkeypatch, content, message):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    with pytest.raises(InputError, match=f"standard input: .*{message}"), readable([STDIN]):
        pass


def test_object_storage_is_read_like_a_folder(tmp_path):
    import fsspec

    storage = fsspec.filesystem("memory")
    for name, content in PHOTOS.items():
        storage.pipe(f"/bucket/photos/{name}", content)
    storage.pipe("/bucket/x.zip", pack(tmp_path / "x.zip", PHOTOS).read_bytes())
    storage.pipe("/bucket/x.tar.gz", pack(tmp_path / "x.tar.gz", PHOTOS).read_bytes())
    storage.pipe("/bucket/1.png", PHOTOS["cat/1.png"])
    try:
        with readable([Path("memory://bucket/x.tar.gz")]) as (found,):
            assert read_images(found).ids == tuple(PHOTOS)
        assert contents(Path("memory://bucket/photos")) == PHOTOS
        assert contents(Path("memory://bucket/x.zip")) == PHOTOS
        with readable([Path("memory://bucket/1.png")]) as (found,):
            assert (found.name, read_bytes(found)) == ("1.png", PHOTOS["cat/1.png"])
        with pytest.raises(InputError, match=r"memory://bucket/none.png: there is no such file"):
            contents(Path("memory://bucket/none.png"))
    finally:
        storage.rm("/bucket", recursive=True)


@pytest.mark.parametrize(("name", "why"), [("n" * 300 + ".png", "File name too long"), ("..", "Is a directory")])
def test_a_remote_name_that_no_file_can_have_is_one_line(name, why):
    import fsspec

    storage = fsspec.filesystem("memory")
    storage.pipe("/bucket/1.png", b"x")
    storage.store[f"/bucket/{name}"] = storage.store["/bucket/1.png"]
    try:
        with pytest.raises(InputError, match=rf"cannot be copied to a temporary file \({why}\)"):
            contents(Path(f"memory://bucket/{name}"))
    finally:
        storage.store.clear()


@pytest.mark.parametrize("name", ["none.png", "none.zip", "a%00.png", "%ff.png", "n" * 300 + ".png"])
def test_a_missing_file_of_a_file_url_needs_no_driver(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InputError, match=rf"{tmp_path}/.*: there is no such file or folder"):
        contents(Path(f"file://{tmp_path}/{name}"))


def test_a_web_server_is_read_like_a_folder(tmp_path):
    for name, content in PHOTOS.items():
        (tmp_path / "site/photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site/photos" / name).write_bytes(content)
    pack(tmp_path / "site/x.tar.gz", PHOTOS)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            assert contents(Path(f"{url}/photos")) == PHOTOS
            assert contents(Path(f"{url}/x.tar.gz")) == PHOTOS
            signed = "X-Credential=a/b/request&X-Signature=" + 300 * "0"
            assert contents(Path(f"{url}/x.tar.gz?{signed}")) == PHOTOS
            with readable([Path(f"{url}/photos/cat/1.png?{signed}")]) as (copied,):
                assert (copied.name, copied.read_bytes()) == ("1.png", PHOTOS["cat/1.png"])
            with pytest.raises(InputError, match=r"none.zip: there is no such file or folder"):
                contents(Path(f"{url}/none.zip"))
        finally:
            server.shutdown()


def test_a_missing_driver_is_one_line(monkeypatch):
    for module, url, message in (
        ("fsspec.core", "s3://bucket/x", r"s3://bucket/x: needs fsspec: pip install 'anyjepa\[remote\]'"),
        ("gcsfs", "gs://bucket/x", r"gs://bucket/x: needs a driver \(.*gcsfs"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(InputError, match=message):
                contents(Path(url))
    with pytest.raises(InputError, match=r"cannot be read \(Protocol not known: nothing"):
        contents(Path("nothing://x"))
