"""Video files: exact frames from anywhere in a file, broken ones named, folders as classes and split."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyjepa.data.images.augmentation import AugmentationConfig, CropConfig
from anyjepa.data.video.files import SUFFIXES, Decoding, decode, scan
from anyjepa.data.video.source import VideoDataConfig, evaluation_data, training_data
from anyjepa.errors import DataWarning, InputError

GREY = Decoding("grey", 32, "lazily")
CONFIG = VideoDataConfig(frames=4, stride=2, side=16, mean=(0.5,), std=(0.25,))


def write_video(path: Path, frames: int = 24, size: tuple[int, int] = (48, 32), codec: str = "mpeg4") -> Path:
    """Frame n is grey of level 5 + 10 n, modulo 240; a key frame every 6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 6
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), (5 + 10 * number) % 240, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def levels(frames: np.ndarray) -> list[int]:
    return [round((float(level) - 5) / 10) for level in frames.mean((1, 2, 3))]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_are_exact_from_anywhere(tmp_path, name):
    path = write_video(tmp_path / name)
    seen = scan(path)
    assert seen.frames == 24
    for wanted in ([0, 1, 2], [7, 9, 11], [23], [5, 6, 20]):
        got = decode(path, seen, np.array(wanted), GREY)
        assert got.shape == (len(wanted), 32, 48, 1)
        assert levels(got) == wanted


def test_frames_are_made_smaller_when_decoded_and_may_have_colours(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    assert decode(path, scan(path), np.arange(2), Decoding("rgb", 16, "lazily")).shape == (2, 16, 24, 3)
    assert decode(path, scan(path), np.arange(2), Decoding("rgb", 64, "lazily")).shape == (2, 32, 48, 3)


def test_folders_are_classes_and_split(tmp_path):
    for place in ("train/run/a", "train/walk/b", "val/run/c", "val/walk/d", "test/run/e", "test/walk/f"):
        write_video(tmp_path / f"{place}.mp4", frames=9)
    data = training_data(CONFIG, [tmp_path])
    assert data.ids == ("train/run/a.mp4", "train/walk/b.mp4")
    assert not data.groups_known
    everything = evaluation_data(data.preprocessing, [tmp_path])
    table = everything.tables["class"]
    assert table.classes == ("run", "walk")
    assert table.split == ("train",) * 2 + ("validation",) * 2 + ("test",) * 2
    assert everything[0].shape == (1, 5, 16, 16)
    assert len(everything.checksums) == 6


@pytest.mark.parametrize("crop", [None, CropConfig()])
def test_ahead_and_lazily_give_the_same_clips(tmp_path, crop):
    write_video(tmp_path / "a.mp4", size=(64, 48))
    write_video(tmp_path / "b.mp4")
    config = CONFIG.model_copy(update={"augmentation": AugmentationConfig(crop=crop, flip=0.5)})
    lazy = training_data(config.model_copy(update={"decode": "lazily"}), [tmp_path])
    ahead = training_data(config, [tmp_path])
    rngs = [[np.random.default_rng(seed) for seed in range(3)] for _ in range(2)]
    first, second = (data.crops([0, 1, 0], r)[0] for data, r in zip((lazy, ahead), rngs, strict=True))
    assert first.shape == (3, 1, 4, 16, 16)
    assert np.array_equal(first, second)
    assert (lazy.checksums != (), ahead.checksums) == (True, ())


def test_broken_files_are_raised_or_skipped_and_counted(tmp_path):
    write_video(tmp_path / "good.mp4")
    whole = write_video(tmp_path / "truncated.avi").read_bytes()
    (tmp_path / "truncated.avi").write_bytes(whole[: len(whole) * 6 // 10])
    (tmp_path / "text.mp4").write_text("Dear reader,\n")
    with pytest.raises(InputError, match=r"text\.mp4: is broken or not a video"):
        training_data(CONFIG, [tmp_path])
    with pytest.raises(InputError, match=r"truncated\.avi: is (truncated: its header declares 24 frames|broken)"):
        training_data(CONFIG, [tmp_path / "truncated.avi"])
    data = training_data(CONFIG.model_copy(update={"on_error": "skip"}), [tmp_path])
    assert data.ids == ("good.mp4",)
    assert sorted(data.skipped) == ["text.mp4", "truncated.avi"]
    assert sorted(evaluation_data(data.preprocessing, [tmp_path], on_error="skip").skipped) == sorted(data.skipped)


def test_what_is_not_read_is_named_and_odd_names_are_refused_or_skipped(tmp_path):
    write_video(tmp_path / "run" / "a.mp4")
    write_video(tmp_path / "run" / "b.mp4").rename(tmp_path / "run" / os.fsdecode(b"caf\xe9.mp4"))
    for name in ("run/c.swf", "run/a.srt", "labels.csv", "walk/d.swf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with (
        pytest.warns(DataWarning) as warned,
        pytest.raises(InputError, match=r"caf\\udce9\.mp4: its name contains bytes that are not UTF-8"),
    ):
        training_data(CONFIG, [tmp_path])
    assert [str(w.message).removeprefix(f"{tmp_path}: ") for w in warned] == [
        "2 files are not read: 2 .swf",
        "1 folder has no file to read: walk",
    ]
    with pytest.warns(DataWarning):
        data = training_data(CONFIG.model_copy(update={"on_error": "skip"}), [tmp_path])
    assert (data.ids, list(data.skipped)) == (("run/a.mp4",), [r"run/caf\udce9.mp4"])


def test_what_is_there_instead_of_videos_is_named(tmp_path):
    with pytest.raises(InputError, match="has no video; files ending in"):
        training_data(CONFIG, [tmp_path])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"cannot read files that end in '\.txt'"):
        training_data(CONFIG, [tmp_path / "a.txt"])
    with pytest.raises(InputError, match="there is no such file"):
        training_data(CONFIG, [tmp_path / "b.mp4"])
    with pytest.raises(InputError, match="pass one set of videos"):
        training_data(CONFIG, [tmp_path, tmp_path])
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"sound\.mp4: has no video$"):
        training_data(CONFIG, [tmp_path / "sound.mp4"])


def test_a_cover_picture_is_not_a_video(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for stream, frame in ((cover, picture), (sound, silence)):
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with pytest.raises(InputError, match=r"song\.mp4: has no video, only a cover picture$"):
        scan(tmp_path / "song.mp4")


def test_a_video_whose_size_changes_is_refused(tmp_path):
    first, second = write_video(tmp_path / "a.ts", codec="mpeg2video"), tmp_path / "b.ts"
    write_video(second, size=(64, 64), codec="mpeg2video")
    first.write_bytes(first.read_bytes() + second.read_bytes())
    seen = scan(first)
    assert levels(decode(first, seen, np.arange(3, 6), GREY)) == [3, 4, 5]
    with pytest.raises(InputError, match=r"a\.ts: the size or rotation of its frames changes at frame 2\d"):
        decode(first, seen, np.arange(seen.frames), GREY)


def test_a_play_list_opens_no_other_file(tmp_path):
    """FFmpeg looks at the content: a text named as a video can name other files, pipes and addresses."""
    write_video(tmp_path / "other.avi", frames=6).rename(tmp_path / "other.dat")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.dat\n")
    with pytest.raises(InputError, match=r"list\.mp4: is broken or not a video"):
        scan(tmp_path / "list.mp4")


@pytest.mark.parametrize("name", [f"a{ending}" for ending in SUFFIXES if ending not in (".gif", ".webm", ".ogv")])
def test_every_known_ending_is_read(tmp_path, name):
    codecs = {".flv": "flv", ".mpg": "mpeg1video", ".ts": "mpeg2video", ".mts": "mpeg2video", ".m2ts": "mpeg2video"}
    assert scan(write_video(tmp_path / name, 6, codec=codecs.get(Path(name).suffix, "mpeg4"))).frames == 6


@cache
def small_video(folder: str) -> bytes:
    return write_video(Path(folder) / "small.mp4", frames=12, size=(32, 32)).read_bytes()


def test_a_codec_that_is_not_known_is_one_line(tmp_path):
    content = bytearray(write_video(tmp_path / "clip.mp4", frames=3, size=(32, 32)).read_bytes())
    content[content.index(b"stsd")] = 0  # the box that names the codec
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"clip.mp4: has an unknown codec$"):
        scan(tmp_path / "clip.mp4")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keep=st.floats(0, 1),
    cut=st.booleans(),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
def test_broken_bytes_are_decoded_or_refused_in_one_line(tmp_path_factory, keep, cut, changes):
    content = bytearray(small_video(str(tmp_path_factory.getbasetemp())))
    for place, byte in changes:
        content[int(place * len(content))] = byte
    path = tmp_path_factory.getbasetemp() / "broken.mp4"
    path.write_bytes(content[: int(keep * len(content))] if cut else content)
    with contextlib.suppress(InputError):
        seen = scan(path)
        assert len(decode(path, seen, np.arange(seen.frames), GREY)) == seen.frames


@pytest.mark.realdata
def test_real_files_are_whole_and_a_damaged_one_is_found(test_data, tmp_path):
    source = test_data / "video" / "carphone_pristine.mp4"
    seen = scan(source)
    assert seen.frames == 120
    stored = np.load(test_data / "video" / "clips_gray64.npz")["carphone_pristine"]
    grey = decode(source, seen, np.array([0, 60, 119]), Decoding("grey", 64, "lazily"))
    assert grey.shape == (3, 64, 86, 1)  # 176 x 144 pixels that are 128 wide and 117 high
    stored_pixels = ((np.arange(78) + 0.5) * 86 / 78).astype(int)  # the clips were made without that
    grey = grey[:, :, stored_pixels, 0][:, :, 7:71]
    assert np.abs(grey[..., 2:-2, 2:-2].astype(int) - stored[[0, 60, 119]][..., 2:-2, 2:-2]).mean() < 12
    content = bytearray(source.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    config = VideoDataConfig(frames=16, stride=2, side=64)
    with pytest.raises(InputError, match=r"damaged\.mp4: (is broken|frame \d+ )"):
        training_data(config, [damaged])
