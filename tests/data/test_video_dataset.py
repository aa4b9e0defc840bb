"""Clips as an encoder sees them: one crop and flip for all frames, whole videos for evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from anyjepa.data.images.augmentation import AugmentationConfig, CropConfig
from anyjepa.data.video.dataset import VideoDataset
from anyjepa.data.video.preprocessing import VideoPreprocessing
from anyjepa.data.video.reading import read_npz
from anyjepa.data.video.source import VideoDataConfig, evaluation_data, training_data
from anyjepa.data.video.video_set import VideoArrays, VideoSet
from anyjepa.errors import InputError

PLAIN = VideoPreprocessing(frames=4, stride=2, side=8, colours="grey", mean=(0.0,), std=(1 / 255,))  # keeps bytes


def dataset(*sizes: tuple[int, ...], augmentation: AugmentationConfig | None = None) -> VideoDataset:
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 256, (*size, 1), np.uint8) for size in sizes]
    ids = tuple(str(n) for n in range(len(sizes)))
    return VideoDataset.of(VideoSet("toy", ids, VideoArrays(videos)), PLAIN, augmentation)


def rngs(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def test_a_clip_is_every_stride_th_frame_from_a_random_start():
    data = dataset((20, 8, 8), (7, 8, 8))
    x, _ = data.crops([0, 1, 0], rngs(1, 2, 3))
    assert x.shape == (3, 1, 4, 8, 8)
    video = data.videos.read(0, np.arange(20))[..., 0]
    assert any(np.allclose(x[0, 0], video[start : start + 7 : 2]) for start in range(14))
    assert np.allclose(x[1, 0], data.videos.read(1, np.arange(0, 7, 2))[..., 0])
    assert np.array_equal(data.crops([0], rngs(3))[0][0], x[2])


@pytest.mark.parametrize("sizes", [((7, 8, 8), (7, 8, 8)), ((7, 32, 24), (7, 16, 40))])
def test_all_frames_of_a_clip_have_one_box_and_one_flip(sizes):
    """A video of one picture stays one; a batch of it is what each clip is alone."""
    augmentation = AugmentationConfig(crop=CropConfig(scale=(0.4, 0.9)), flip=0.5)
    data = dataset(*sizes, augmentation=augmentation)
    for video in data.videos.videos:  # type: ignore[attr-defined]
        video[:] = video[:1]
    x, _ = data.crops([0, 1, 0], rngs(1, 2, 3))
    assert x.shape == (3, 1, 4, 8, 8)
    assert np.abs(x - x[:, :, :1]).max() == 0
    assert not np.array_equal(x[0], x[2])
    alone, _ = data.crops([1], rngs(2))
    assert np.allclose(alone[0], x[1], atol=1e-3)


@pytest.mark.parametrize("crop", [None, CropConfig(scale=(0.4, 0.9))])
def test_a_clip_does_not_depend_on_those_beside_it(crop):
    """Sizes below, at and above the input's: what is resized how is its own matter."""
    sizes = [(7, 8, 8), (7, 6, 8), (7, 32, 24), (7, 8, 8)]
    data = dataset(*sizes, augmentation=AugmentationConfig(crop=crop, flip=0.5))
    x, starts = data.crops([0, 1, 2, 3], rngs(1, 2, 3, 4))
    for row in range(4):
        alone, start = data.crops([row], rngs(row + 1))
        assert np.array_equal(alone[0], x[row])
        assert start[0] == starts[row]


@pytest.mark.parametrize("size", [(7, 8, 8), (7, 6, 8), (7, 32, 24)])
def test_a_flip_alone_keeps_the_middle_square(size):
    plain, flipped = (dataset(size, augmentation=AugmentationConfig(flip=chance)) for chance in (0.0, 1.0))
    assert np.array_equal(flipped.crops([0], rngs(1))[0], plain.crops([0], rngs(1))[0][..., ::-1])


def test_whole_videos_are_the_middle_square_resized():
    data = dataset((9, 16, 24))
    video = torch.from_numpy(data.videos.read(0, np.arange(0, 9, 2))[..., 0])[None, :, :, 4:20].float()
    expected = interpolate(video, (8, 8), mode="bilinear", antialias=True)
    assert data[0] == pytest.approx(expected.numpy(), abs=1e-3)
    assert data.longest == 5
    assert np.array_equal(PLAIN.prepare(data.videos.read(0, np.arange(9))[..., 0]), data[0])


def test_short_videos_are_counted_or_refused():
    assert dataset((7, 8, 8), (6, 8, 8)).skipped == {"1": "toy: video '1' has 6 frames; a clip needs 7"}
    with pytest.raises(InputError, match="no usable video"):
        dataset((6, 8, 8))
    with pytest.raises(InputError, match="a video has 6 frames; a clip needs 7"):
        PLAIN.prepare(np.zeros((6, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("raw", "message"),
    [(np.zeros((7, 8, 8)), "type float64"), (np.zeros((7, 8, 8, 2), np.uint8), "it must be"), (np.uint8([1]), "shape")],
)
def test_what_is_no_video_of_bytes_is_named(raw, message):
    with pytest.raises(InputError, match=message):
        PLAIN.prepare(raw)


def test_colours_are_converted():
    rgb = VideoPreprocessing(frames=1, side=2, colours="rgb", mean=(0.0,) * 3, std=(1 / 255,) * 3)
    assert np.array_equal(rgb.prepare(np.full((1, 2, 2), 7, np.uint8)), np.full((3, 1, 2, 2), 7, np.float32))
    with pytest.raises(ValueError, match="3 channels, but 1 means"):
        VideoPreprocessing(frames=1, side=2, colours="rgb", mean=(0.0,), std=(1.0,))


def test_arrays_are_read_by_key(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", one=rng.integers(0, 256, (9, 8, 8), np.uint8), two=np.zeros((8, 8, 8, 3), np.uint8))
    config = VideoDataConfig(frames=4, side=8, mean=(0,), std=(1,))
    data = training_data(config, [tmp_path / "a.npz"], exclude=["two"])
    assert data.ids == ("one",)
    assert evaluation_data(data.preprocessing, [tmp_path / "a.npz"]).ids == ("one", "two")
    with pytest.raises(InputError, match="records to exclude are not in the data: three"):
        training_data(config, [tmp_path / "a.npz"], exclude=["three"])
    np.savez(tmp_path / "b.npz", one=np.zeros((9, 8, 8)))
    with pytest.raises(InputError, match="'one': a video has pixels of type float64"):
        read_npz(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match="cannot be read as NumPy arrays"):
        read_npz(tmp_path / "c.npz")


@pytest.mark.realdata
def test_windows_of_real_clips(test_data):
    config = VideoDataConfig(frames=16, stride=2, side=48, augmentation=AugmentationConfig(crop=CropConfig(), flip=0.5))
    data = training_data(config, [test_data / "video" / "clips_gray64.npz"])
    assert {id: data.videos.lengths[n] for n, id in enumerate(data.ids)} == {
        "bigbuckbunny": 132,
        "bikes": 250,
        "carphone_pristine": 120,
    }
    assert data.longest == 125
    x, starts = data.crops([0, 1, 2], rngs(1, 2, 3))
    assert x.shape == (3, 1, 16, 48, 48)
    assert len(starts) == 3
    assert np.isfinite(x).all()
