"""Moving-MNIST and the embedded clips: drawn by address, split by digits, one frame knows no motion."""

from __future__ import annotations

import numpy as np
import pytest

from anyjepa.data.video.simulator import MOTIONS, MovingDigitsConfig, MovingMnistConfig, moving_digits, moving_mnist
from anyjepa.data.video.source import VideoDataConfig, evaluation_data, training_data
from anyjepa.errors import InputError


def write_mnist(folder, part: str, count: int, side: int = 28) -> None:
    rng = np.random.default_rng(count)
    for what, shape in (("images-idx3", (count, side, side)), ("labels-idx1", (count,))):
        sizes = b"".join(n.to_bytes(4, "big") for n in shape)
        numbers = rng.integers(1, 10, shape, np.uint8)
        (folder / f"{part}-{what}-ubyte").write_bytes(bytes([0, 0, 8, len(shape)]) + sizes + numbers.tobytes())


def test_digits_bounce_inside_the_frame(tmp_path):
    write_mnist(tmp_path, "t10k", 50)
    made = moving_mnist(MovingMnistConfig(clips=20, test_clips=10, frames=30, speed=(5, 9)), tmp_path)
    places = made.videos.places  # type: ignore[attr-defined]
    assert places.shape == (30, 30, 2, 2)
    assert places.min() == 0
    assert places.max() == 64 - 28
    assert np.abs(np.diff(places, axis=1)).max() <= 10
    first = made.videos.read(0, np.arange(30))
    assert first.shape == (30, 64, 64, 1)
    corner = places[0, 0, 0]
    shown = first[0, corner[0] : corner[0] + 28, corner[1] : corner[1] + 28, 0]
    assert np.all(shown >= made.videos.images[made.videos.which[0, 0]])  # type: ignore[attr-defined]


def test_no_digit_is_in_both_parts(tmp_path):
    write_mnist(tmp_path, "t10k", 50)
    made = moving_mnist(MovingMnistConfig(clips=200, test_clips=100), tmp_path)
    which, test = made.videos.which, np.array(made.split) == "test"  # type: ignore[attr-defined]
    assert set(which[test].ravel()) | set(which[~test].ravel()) == set(range(50))
    assert not set(which[test].ravel()) & set(which[~test].ravel())
    assert len(set(which[test].ravel())) == 10
    write_mnist(tmp_path, "train", 30)  # with both files the published parts
    made = moving_mnist(MovingMnistConfig(clips=200, test_clips=100), tmp_path)
    assert made.videos.which[np.array(made.split) == "train"].max() == 29  # type: ignore[attr-defined]
    assert made.videos.which[np.array(made.split) == "test"].min() == 30  # type: ignore[attr-defined]


def test_clips_do_not_depend_on_their_number(tmp_path):
    write_mnist(tmp_path, "t10k", 50)
    for few, more in (
        (moving_mnist(MovingMnistConfig(clips=3), tmp_path), moving_mnist(MovingMnistConfig(clips=9), tmp_path)),
        (moving_digits(MovingDigitsConfig(clips=3)), moving_digits(MovingDigitsConfig(clips=9))),
    ):
        for clip in range(3):
            assert few.ids[clip] == more.ids[clip]
            assert np.array_equal(few.videos.read(clip, np.arange(8)), more.videos.read(clip, np.arange(8)))
    other = moving_digits(MovingDigitsConfig(clips=3, seed=1))
    assert not np.array_equal(few.videos.read(0, np.arange(8)), other.videos.read(0, np.arange(8)))


def test_digits_larger_than_the_frame_are_refused(tmp_path):
    write_mnist(tmp_path, "t10k", 5)
    with pytest.raises(InputError, match="larger than frames of 32"):
        moving_mnist(MovingMnistConfig(side=32), write_large(tmp_path))


def write_large(folder):
    write_mnist(folder, "t10k", 5, side=40)
    return folder


def test_each_motion_goes_where_its_name_says():
    made = moving_digits(MovingDigitsConfig(clips=60, speed=(2, 2)))
    step = np.diff(made.videos.places[:, :, 0].astype(int), axis=1)  # type: ignore[attr-defined]
    motion = made.tables["motion"].values.argmax(1)
    for name, towards in (("right", [0, 2]), ("left", [0, -2]), ("down", [2, 0]), ("up", [-2, 0])):
        assert np.all(step[motion == MOTIONS.index(name)] == towards)
    # On a screen, rows downward, a clockwise path turns from right to down: a positive cross product.
    early, late = step[:, :3].sum(1), step[:, 3:6].sum(1)
    turn = early[:, 1] * late[:, 0] - early[:, 0] * late[:, 1]
    assert np.all(turn[motion == MOTIONS.index("clockwise")] > 0)
    assert np.all(turn[motion == MOTIONS.index("anticlockwise")] < 0)


def test_one_frame_says_nothing_about_the_motion():
    made = moving_digits(MovingDigitsConfig(clips=6000))
    motion = made.tables["motion"].values.argmax(1)
    for frame in (0, 4, 7):
        places = made.videos.places[:, frame, 0] % 32  # type: ignore[attr-defined]
        for number in range(6):
            counts = np.bincount(places[motion == number].ravel() // 8, minlength=4) / 2000
            assert counts == pytest.approx([0.25] * 4, abs=0.05)


def test_the_embedded_set_is_split_by_digit_images():
    config = VideoDataConfig(moving_digits=MovingDigitsConfig(clips=300))
    data = training_data(config, ())
    everything = evaluation_data(data.preprocessing, (), config)
    assert everything.ids[: len(data)] != data.ids
    assert list(everything.tables) == ["motion", "digit"]
    assert everything.groups_known
    test = {
        g for g, part in zip(everything.groups, everything.tables["digit"].split or (), strict=True) if part == "test"
    }
    assert test
    assert not test & set(data.groups)
    shown, parts = everything.videos.which, np.array(everything.tables["digit"].split)  # type: ignore[attr-defined]
    assert shown.shape == (300, 2)
    assert not set(shown[parts == "test"].ravel()) & set(shown[parts == "train"].ravel())
    assert data[0].shape == (1, 8, 32, 32)
    values = np.stack([data[i] for i in range(len(data))])
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert values.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.realdata
def test_moving_mnist_of_the_10000_test_images(test_data):
    config = VideoDataConfig(
        moving_mnist=MovingMnistConfig(clips=400, test_clips=100),
        frames=16,
        side=64,
        stride=1,
        mean=(0.05,),
        std=(0.2,),
    )
    data = training_data(config, [test_data / "mnist"])
    assert len(data) == 400
    assert len(data.videos.images) == 10_000  # type: ignore[attr-defined]
    everything = evaluation_data(data.preprocessing, [test_data / "mnist"], config)
    table = everything.tables["digits"]
    assert (table.exclusive, table.classes) == (False, tuple("0123456789"))
    assert set(table.values.sum(1)) == {1.0, 2.0}
    assert everything.longest == 20
    again = training_data(config, [test_data / "mnist"])
    assert np.array_equal(again[7], data[7])
