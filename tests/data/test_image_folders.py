"""Folders of image files: classes, split, every kind of pixels, and what is broken."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anyjepa.data.images.image_files import read_image
from anyjepa.data.images.inspection import inspect
from anyjepa.data.images.reading import read_images
from anyjepa.data.images.source import ImageDataConfig, evaluation_data, training_data
from anyjepa.errors import DataWarning, InputError, one_line
from anyjepa.randomness import generator


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes in three parts, with one picture each: sizes, endings and kinds of pixels differ."""
    rng = np.random.default_rng(0)
    for part, ending in (("train", "png"), ("val", "jpg"), ("test", "webp")):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            pixels = rng.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"a.{ending}")
    (tmp_path / "photos" / "README.txt").write_text("no image")
    (tmp_path / "photos" / "train" / "cat" / "._a.png").write_text("of a Mac")
    return tmp_path / "photos"


def test_classes_and_split_are_folders(photos):
    found = read_images(photos)
    assert found.ids[:2] == ("train/cat/a.png", "train/dog/a.png")
    assert found.split == ("train", "train", "validation", "validation", "test", "test")
    assert found.labels["class"].classes == ("cat", "dog")
    assert found.labels["class"].numbers.tolist() == [0, 1] * 3
    assert found.name == "photos"
    assert found.images[1].shape == (41, 50, 3)


def test_classes_without_a_split_and_images_without_classes(photos):
    found = read_images(photos / "train")
    assert (found.ids, found.split) == (("cat/a.png", "dog/a.png"), None)
    alone = read_images(photos / "train" / "cat")
    assert (alone.ids, alone.labels) == (("a.png",), {})
    (photos / "train" / "b.png").write_bytes((photos / "train" / "cat" / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"b\.png: is next to class folders"):
        read_images(photos)


def test_training_and_evaluation(photos):
    config = ImageDataConfig.model_validate({"side": 24, "augmentation": {"crop": {}, "flip": 0.5}})
    data = training_data(config, [photos])
    x, _ = data.crops([0, 1, 0], [generator(0, "crop", i) for i in range(3)])
    assert x.shape == (3, 3, 24, 24)
    assert np.array_equal(x[2], data.crops([0], [generator(0, "crop", 2)])[0][0])
    assert len(data) == 2
    assert data.checksums == tuple(f"{name} {(photos / name).stat().st_size}" for name in data.ids)
    whole = evaluation_data(data.preprocessing, [photos])
    assert whole.tables["class"].split == read_images(photos).split
    assert whole[3].shape == (3, 24, 24)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 77, [77]),
        ("1", 1, [255]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (200, 0, 0, 0), [255, 255, 255]),
        ("LA", (7, 0), [255, 255, 255]),
        ("I;16", 0x1234, [0x12]),
        ("I;16", 0, [0]),
        ("P", 1, None),
    ],
)
def test_every_kind_of_pixels_has_its_rule(mode, value, expected, tmp_path):
    picture = Image.new("RGB", (4, 3), (9, 8, 7)).convert("P") if mode == "P" else Image.new(mode, (4, 3), value)
    picture.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 4, 3 if expected is None else len(expected))
    assert expected is None or (pixels == expected).all()


def test_12_bits_stored_in_16_are_refused(tmp_path):
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: .*its 16-bit pixels are all below 4096"):
        read_image(tmp_path / "a.png")


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (8, 4, 3)


def giant(path: Path) -> None:
    """A PNG of 60,000 x 60,000 pixels in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


BROKEN = {
    "giant": (giant, "has more pixels than Pillow decodes"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("Dear reader"), "cannot be read as PNG, JPEG or WebP"),
    "fifo": (os.mkfifo, "is a FIFO; only regular files are read"),
    "gif": (lambda path: Image.new("P", (3, 3)).save(path, "GIF"), "cannot be read as PNG, JPEG or WebP"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_or_left_out_by_name(name, photos):
    spoil, message = BROKEN[name]
    path = photos / "train" / "cat" / "b.png"
    spoil(path)
    with pytest.raises(InputError, match=rf"cat/b\.png: {message}"):
        read_images(photos)
    found = read_images(photos, on_error="skip")
    assert len(found.ids) == 6
    assert message in found.skipped["train/cat/b.png"]


def test_a_truncated_file_is_found_when_it_is_decoded(photos):
    path = photos / "train" / "cat" / "a.png"
    path.write_bytes(path.read_bytes()[:-500])
    config = ImageDataConfig(mean=(0.5,) * 3, std=(0.25,) * 3)
    data = training_data(config, [photos])
    with pytest.raises(InputError, match=r"cat/a\.png: cannot be read"):
        data[0]
    skipping = training_data(config.model_copy(update={"on_error": "skip"}), [photos])
    assert skipping.ids == ("train/dog/a.png",)
    assert list(skipping.skipped) == ["train/cat/a.png"]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "WEBP"]))
def test_damaged_files_never_fail_otherwise(data, kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(path, kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_image(path).dtype == np.uint8
    except InputError as error:
        assert str(error).count(str(path)) == 1  # noqa: PT017


def test_what_is_not_read_is_warned_of_in_training_and_listed_by_inspection(photos, cli):
    for name in ("train/cat/b.bmp", "train/cat/c.BMP", "val/dog/d.heic", "train/labels.csv", "train/cat/a.txt"):
        (photos / name).write_bytes(b"")
    (photos / "train" / "cat" / "a.png").rename(photos / "train" / "cat" / "a.PNG")
    (photos / "train" / "emu").mkdir()
    remarks = [
        f"{photos}: 3 files are not read: 2 .bmp, 1 .heic",
        f"{photos}: 1 folder has no file to read: train/emu",
    ]
    with pytest.warns(DataWarning) as warned:
        data = training_data(ImageDataConfig(mean=(0.5,) * 3, std=(0.25,) * 3), [photos])
    assert [str(w.message) for w in warned] == remarks
    assert data.ids == ("train/cat/a.PNG", "train/dog/a.png")
    assert inspect([photos])["remarks"] == remarks
    done = cli("data", "inspect", photos)
    assert "3 files are not read: 2 .bmp, 1 .heic" in " ".join(done.out.split())  # lines break after any word
    assert "no problem found" not in done.out


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"new\nline.png"])
def test_an_odd_name_is_refused_or_skipped_and_shown_escaped(name, photos):
    path = photos / "train" / "cat" / os.fsdecode(name)
    (photos / "train" / "cat" / "a.png").rename(path)
    shown = one_line(f"train/cat/{path.name}")
    with pytest.raises(InputError, match=rf"{re.escape(shown)}: its name contains .*; rename it"):
        read_images(photos)
    assert list(read_images(photos, on_error="skip").skipped) == [shown]


def test_quotes_markup_and_long_names_are_carried_through(photos, tmp_path):
    names = ['it\'s "q", <b>&;.png', "x" * 240 + ".png", "caf\u00e9 \u4e2d.png"]
    for name in names:
        Image.new("RGB", (8, 8)).save(photos / "train" / "cat" / name)
    assert {f"train/cat/{name}" for name in names} < set(read_images(photos).ids)


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match=r"has no image; files ending in \.png"):
        read_images(tmp_path)
    with pytest.raises(InputError, match="there is no such file or folder"):
        read_images(tmp_path / "nothing")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"a\.txt: is not a set of images"):
        read_images(tmp_path / "a.txt")


def test_inspection_counts_and_finds_what_is_wrong(photos, cli):
    same = (photos / "train" / "cat" / "a.png").read_bytes()
    (photos / "test" / "dog" / "same.png").write_bytes(same)
    (photos / "train" / "cat" / "again.png").write_bytes(same)
    (photos / "train" / "cat" / "broken.png").write_bytes(same[:-900])
    found = inspect([photos])
    assert found["records"] == 8
    assert found["split"] == {"train": 3, "validation": 2, "test": 3}
    assert found["classes"]["class"]["dog"] == {"train": 1, "validation": 1, "test": 2}
    assert found["sizes"] == {"50x40": 5, "50x41": 3}
    group = ["train/cat/a.png", "train/cat/again.png", "test/dog/same.png"]
    assert found["duplicates"] == found["duplicates_across_parts"] == [group]
    assert list(found["skipped"]) == ["train/cat/broken.png"]
    done = cli("data", "inspect", photos)
    assert done.code == 0
    assert "in several parts of the split" in done.out
    assert "skipped: 1 file" in done.out
    assert cli("data", "inspect", photos / "test" / "cat").out.endswith("no problem found\n")
