"""Records in S3, through s3fs, are embedded like those of a folder, and a command that failed resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from local_server import served
from PIL import Image
from s3_server import KEY_ID, S3, SECRET, Storage

import anyjepa
from anyjepa.data.sources import readable
from anyjepa.errors import InputError

IMAGES = 1030  # more than a part has


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    edits = ["training.steps=2", "data.simulator.train=64", "data.simulator.test=8", "objective.encoder.depth=1"]
    return anyjepa.pretrain("ijepa-demo", output=tmp_path_factory.mktemp("storage") / "run", edits=edits).folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("storage") / "photos", np.random.default_rng(0)
    for name in ("cat", "a dog"):
        (folder / name).mkdir(parents=True)
    for place, pixels in enumerate(rng.integers(0, 256, (IMAGES, 8, 9, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / ("cat", "a dog")[place % 2] / f"{place}.png")
    return folder


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, photos: Path) -> Iterator[Storage]:
    """A bucket with `photos`, whose address and keys are in the environment."""
    from s3fs import S3FileSystem

    made = Storage()
    made.buckets["bucket"] = {f"data/{file.relative_to(photos)}": file.read_bytes() for file in photos.rglob("*.png")}
    with served(S3, storage=made) as address:
        S3FileSystem.clear_instance_cache()  # which does not see that the address changed
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CONFIG_FILE": "none",
            "AWS_SHARED_CREDENTIALS_FILE": "none",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield made
        S3FileSystem.clear_instance_cache()


def test_a_bucket_is_embedded_like_a_folder_and_resumes(cli, run, photos, storage, tmp_path):
    """The first command loses access in its second part; the second does not read the pixels of the first again."""
    assert cli("embed", run, photos, "-o", tmp_path / "folder.parquet").code == 0
    command = ["embed", run, "s3://bucket/data", "-o", tmp_path / "bucket.parquet"]
    storage.left = 2 * IMAGES - 3  # each image is opened twice, first for its size
    failed = cli(*command)
    assert (failed.code, len(failed.err.strip().splitlines()[-1:])) == (2, 1)
    assert "anyjepa: s3://bucket/data/" in failed.err
    assert len(storage.read) == 2 * IMAGES - 3
    storage.left, storage.read = 10**9, []
    done = cli(*command)
    assert done.code == 0, done.err
    assert IMAGES <= len(storage.read) < IMAGES + 20
    assert (tmp_path / "bucket.parquet").read_bytes() == (tmp_path / "folder.parquet").read_bytes()


def test_single_objects_and_archives(cli, run, photos, storage, tmp_path):
    few = sorted((photos / "cat").iterdir())[:5]
    with ZipFile(tmp_path / "few.zip", "w") as archive:
        for file in few:
            archive.write(file, file.name)
    storage.buckets["bucket"]["few.zip"] = (tmp_path / "few.zip").read_bytes()
    storage.buckets["bucket"]["one.png"] = few[0].read_bytes()
    for name in ("few.zip", "one.png"):
        done = cli("embed", run, f"s3://bucket/{name}", "-o", tmp_path / f"{name}.npz")
        assert done.code == 0, done.err
    assert np.load(tmp_path / "few.zip.npz")["id"].tolist() == [file.name for file in few]
    first = [np.load(tmp_path / f"{name}.npz")["embedding"][0] for name in ("few.zip", "one.png")]
    assert np.array_equal(*first)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket/none.png", "s3://bucket/none.png: there is no such file or folder"),
        ("s3://other/data", "s3://other/data: there is no such file or folder"),
    ],
)
def test_what_is_missing_is_one_line(storage, url, message):
    with pytest.raises(InputError, match=message) as error, readable([Path(url)]):
        pass
    assert "\n" not in str(error.value)


def test_a_wrong_key_is_one_line(storage, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    with (
        pytest.raises(InputError, match="s3://bucket/data: cannot be read") as error,
        readable([Path("s3://bucket/data")]),
    ):
        pass
    assert "\n" not in str(error.value)


def test_a_missing_driver_is_one_line(monkeypatch):
    def missing(url: str) -> None:  # as fsspec says it if the driver was not imported before
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    driver = r"s3://bucket/x: needs a driver \(.*s3fs.*\): pip install 'anyjepa\[s3\]'"
    with pytest.raises(InputError, match=driver), readable([Path("s3://bucket/x")]):
        pass


def test_a_file_url_is_the_file(cli, run, photos, tmp_path):
    for name, folder in (("url", (photos / "a dog").as_uri()), ("path", photos / "a dog")):
        assert cli("embed", run, folder, "-o", tmp_path / f"{name}.npz").code == 0
    assert (tmp_path / "url.npz").read_bytes() == (tmp_path / "path.npz").read_bytes()
