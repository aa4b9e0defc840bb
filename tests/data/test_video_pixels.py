"""Frames as players show them: upright, with square pixels, transparent parts over white, colours in full range."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_writing import write

from anyjepa.data.video.files import Decoding, decode, scan
from anyjepa.data.video.pixels import upright
from anyjepa.errors import InputError

RGB, GREY = Decoding("rgb", 10**6, "lazily"), Decoding("grey", 10**6, "lazily")
# (2, 3): a letter for each pixel, and where an EXIF-like turn puts it; counter-clockwise degrees, then mirrored
LETTERS = np.array([[1, 2, 3], [4, 5, 6]])
TURNS = {
    (0, False, False): [[1, 2, 3], [4, 5, 6]],
    (90, False, False): [[3, 6], [2, 5], [1, 4]],
    (180, False, False): [[6, 5, 4], [3, 2, 1]],
    (270, False, False): [[4, 1], [5, 2], [6, 3]],
    (0, True, False): [[3, 2, 1], [6, 5, 4]],
    (0, False, True): [[4, 5, 6], [1, 2, 3]],
    (90, True, False): [[6, 3], [5, 2], [4, 1]],
    (90, False, True): [[1, 4], [2, 5], [3, 6]],
}


def first(path: Path, how: Decoding = RGB) -> np.ndarray:
    return decode(path, scan(path), np.array([0]), how)[0]


@pytest.mark.parametrize(("turn", "expected"), TURNS.items(), ids=map(str, TURNS))
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_rotated_and_mirrored_files_come_out_upright(tmp_path, name, turn, expected):
    degrees, horizontal, vertical = turn
    picture = np.kron(40 * LETTERS, np.ones((16, 16)))[..., None].repeat(3, 2).astype(np.uint8)  # 48 x 32 pixels
    path = write(
        tmp_path / name,
        frames=2,
        size=(48, 32),
        draw=lambda number: picture,
        prepare=lambda stream: stream.set_display_rotation(degrees, hflip=horizontal, vflip=vertical),
        crf="5",
    )
    got = first(path)
    assert got.shape == (16 * len(expected), 16 * len(expected[0]), 3)
    assert np.round(got[8::16, 8::16, 0] / 40).astype(int).tolist() == expected


def test_a_rotation_by_another_angle_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", frames=2, prepare=lambda stream: stream.set_display_rotation(30))
    with pytest.raises(InputError, match=r"a\.mp4: .*its display matrix rotates by .* not a multiple of 90 degrees"):
        first(path)


def test_a_display_matrix_maps_right_and_down():
    """x' = m0 x + m3 y, y' = m1 x + m4 y, as in ISO 14496-12: a phone held upright writes (0, 1, -1, 0), clockwise."""
    clockwise = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], np.int32)
    assert upright(LETTERS[..., None], clockwise)[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize(("aspect", "width"), [("4/3", 85), ("1/2", 32), ("1/1", 64), ("12/11", 70)])
def test_pixels_that_are_not_square(tmp_path, aspect, width):
    def wide(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)

    path = write(tmp_path / "a.mp4", frames=2, prepare=wide, draw=lambda number: halves())
    got = first(path)
    assert got.shape == (48, width, 3)
    assert (got[:, : width // 2 - 3] < 60).all()
    assert (got[:, width // 2 + 3 :] > 180).all()
    small = first(path, Decoding("rgb", 16, "lazily"))
    assert min(small.shape[:2]) == 16


def test_an_absurd_aspect_is_refused(tmp_path):
    def thin(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(1, 20)

    with pytest.raises(InputError, match=r"a\.mp4: .*aspect ratio of 1/20"):
        first(write(tmp_path / "a.mp4", frames=2, prepare=thin))


def halves() -> np.ndarray:
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:, 32:] = 220
    return picture


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("limited.mp4", "libx264", "yuv420p"),
        ("full.mp4", "libx264", "yuvj420p"),
        ("full.avi", "mjpeg", "yuvj420p"),
        ("ten.mp4", "libx264", "yuv420p10le"),
        ("ten.mov", "prores_ks", "yuv422p10le"),
        ("ten-hevc.mp4", "libx265", "yuv420p10le"),
        ("colours.mkv", "ffv1", "bgr0"),
        ("pixels.mov", "png", "rgb24"),
        ("deep.mkv", "ffv1", "gbrp10le"),
    ],
)
def test_colours_have_their_whole_range(tmp_path, name, codec, pixel_format):
    for colour in ((0, 0, 0), (255, 255, 255), (200, 50, 10)):
        path = write(
            tmp_path / name,
            codec,
            2,
            between=None,
            pixel_format=pixel_format,
            draw=lambda number, colour=colour: np.full((48, 64, 3), colour, np.uint8),
        )
        np.testing.assert_allclose(first(path), np.full((48, 64, 3), colour), atol=4)
        luma = np.dot(colour, (0.299, 0.587, 0.114))
        np.testing.assert_allclose(first(path, GREY), np.full((48, 64, 1), luma), atol=3)


@pytest.mark.parametrize(("pixel_format", "expected"), [("gray", 90), ("gray10le", 90), ("gray16le", 90)])
def test_grey_files(tmp_path, pixel_format, expected):
    path = write(
        tmp_path / "a.mkv",
        "ffv1",
        2,
        between=None,
        pixel_format=pixel_format,
        draw=lambda number: np.full((48, 64, 3), 90, np.uint8),
    )
    for how in (RGB, GREY):
        np.testing.assert_allclose(first(path, how), expected, atol=1)


@pytest.mark.parametrize(("name", "codec", "pixel_format"), [("a.mov", "qtrle", "argb"), ("a.mkv", "ffv1", "bgra")])
def test_transparent_parts_show_white(tmp_path, name, codec, pixel_format):
    def draw(number: int) -> np.ndarray:
        picture = np.full((48, 64, 4), (200, 50, 10, 255), np.uint8)
        picture[:16, :, 3], picture[16:32, :, 3] = 0, 51
        return picture

    path = write(tmp_path / name, codec, 2, between=None, pixel_format=pixel_format, draw=draw, layout="rgba")
    got = first(path)
    assert got[8, 8].tolist() == [255, 255, 255]
    assert got[24, 8].tolist() == [244, 214, 206]  # a fifth of the colour, four fifths white
    assert got[40, 8].tolist() == [200, 50, 10]


@pytest.mark.parametrize("size", [(33, 17), (65, 49), (1, 1), (17, 16)])
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")])
def test_odd_sizes(tmp_path, name, codec, size):
    grey = np.full((size[1], size[0], 3), 120, np.uint8)
    got = first(write(tmp_path / name, codec, 2, between=None, size=size, draw=lambda number: grey))
    assert got.shape == (size[1], size[0], 3)
    np.testing.assert_allclose(got, 120, atol=8)
