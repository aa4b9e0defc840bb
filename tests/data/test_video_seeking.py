"""Which frames a file shows, and that a frame that is sought equals the one of the whole video to the bit."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.packet import Packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_writing import packets, remux, shown, trimmed, write

from anyjepa.data.video import files
from anyjepa.data.video.files import Decoding, decode, scan
from anyjepa.errors import InputError

WHOLE = Decoding("rgb", 10**6, "lazily")
OPEN = {"x264-params": "open-gop=1"}
OPEN_HEVC = {"x265-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"}


def agrees(path: Path) -> None:
    """Whole, and by any single frame, FFmpeg's frames."""
    expected, seen = shown(path), scan(path)
    assert seen.frames == len(expected)
    np.testing.assert_array_equal(decode(path, seen, np.arange(seen.frames), WHOLE), expected)
    for number in range(seen.frames):
        np.testing.assert_array_equal(decode(path, seen, np.array([number]), WHOLE)[0], expected[number], str(number))


CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "closed.mp4": ("libx264", {"between": 3}),
    "open.mp4": ("libx264", {"between": 3, **OPEN}),
    "open.mkv": ("libx264", {"between": 3, **OPEN}),
    "open.ts": ("libx264", {"between": 3, **OPEN}),
    "open-hevc.mp4": ("libx265", {"between": 3, **OPEN_HEVC}),
    "open-hevc.ts": ("libx265", {"between": 3, **OPEN_HEVC}),
    "hevc.mp4": ("libx265", {"between": 2}),
    "xvid.avi": ("mpeg4", {"between": 2}),
    "h264.avi": ("libx264", {"between": 3}),
    "open.avi": ("libx264", {"between": 3, **OPEN}),
    "refresh.mkv": ("libx264", {"between": 2, "x264-params": "intra-refresh=1:keyint=12"}),
    "b.mpg": ("mpeg2video", {"between": 2}),
    "b.ts": ("mpeg2video", {"between": 2}),
    "no-b.mpg": ("mpeg1video", {}),
    "raw.h264": ("libx264", {"between": 3}),
    "vp8.webm": ("libvpx", {"between": None}),
    "vp9.webm": ("libvpx-vp9", {"between": None, "cpu-used": "8", "deadline": "realtime"}),
    "fragments.mp4": ("libx264", {"between": 3, "container": {"movflags": "frag_keyframe+empty_moov"}}),
    "motion.avi": ("mjpeg", {"between": None, "pixel_format": "yuvj420p"}),
    "small.gif": ("gif", {"between": None, "pixel_format": "rgb8"}),
    "a.wmv": ("wmv2", {}),
    "a.flv": ("flv", {}),
    "variable.mp4": ("libx264", {"between": 3, "stamp": lambda number: number * number // 4 + number}),
    "dropped.avi": ("mpeg4", {"stamp": lambda number: number + number // 8}),
    "one.mp4": ("libx264", {"frames": 1}),
    "one.avi": ("mpeg4", {"frames": 1}),
    "one.webm": ("libvpx", {"frames": 1, "between": None}),
    "one.gif": ("gif", {"frames": 1, "between": None, "pixel_format": "rgb8"}),
}


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_is_ffmpegs_whole_or_sought(tmp_path, name):
    codec, how = CODECS[name]
    agrees(write(tmp_path / name, codec, **how))


@pytest.mark.parametrize(("codec", "options"), [("libx264", {}), ("libx264", OPEN), ("mpeg4", {})])
@pytest.mark.parametrize("seconds", [0.04, 0.5, 1.1])
def test_an_edit_list_hides_frames(tmp_path, codec, options, seconds):
    whole = write(tmp_path / "whole.mp4", codec, between=2, **options)
    path = trimmed(whole, tmp_path / "trimmed.mp4", seconds)
    assert scan(path).frames == 40 - ceil(seconds * 25)
    agrees(path)


def test_frames_after_an_edit_are_not_shown(tmp_path):
    path = write(tmp_path / "a.mp4", between=3)
    content = bytearray(path.read_bytes())
    duration = content.index(b"elst") + 12  # in ms, of the only edit
    content[duration : duration + 4] = (800).to_bytes(4, "big")
    path.write_bytes(content)
    assert scan(path).frames == 20
    agrees(path)


def hidden(number: int, packet: Packet) -> Packet:
    """The show_frame bit of VP8 is cleared in some: encoders do so for frames that only serve as a reference."""
    if number not in (5, 6, 30):
        return packet
    content = bytearray(bytes(packet))
    content[0] &= ~16
    return like(packet, content)


def not_coded(number: int, packet: Packet) -> Packet:
    """MPEG-4's way to say that nothing is new: a picture header with vop_coded 0."""
    return like(packet, bytes.fromhex("000001b652cf")) if number in (7, 20) else packet


def like(packet: Packet, content: bytes | bytearray) -> Packet:
    changed = Packet(bytes(content))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    return changed


def late(number: int, packet: Packet) -> Packet:
    """Presentation times that jump and repeat."""
    packet.pts += packet.duration * (3 if number % 5 == 0 else 0)
    return packet


def back(number: int, packet: Packet) -> Packet:
    """Presentation times that go back in the middle."""
    packet.pts += packet.duration * (60 if number < 20 else 0)
    return packet


@pytest.mark.parametrize(
    ("source", "codec", "between", "target", "change", "expected"),
    [
        ("a.webm", "libvpx", None, "hidden.webm", hidden, 37),
        ("a.avi", "mpeg4", 0, "static.avi", not_coded, 38),
        ("a.mp4", "libx264", 0, "late.mkv", late, 40),
        ("b.mp4", "libx264", 3, "late.mkv", late, 40),
        ("a.mp4", "libx264", 0, "back.mkv", back, 40),
        ("b.mp4", "libx264", 3, "back.mkv", back, 40),
        ("b.mp4", "libx264", 3, "cut.mkv", lambda number, packet: packet if number >= 3 else None, 28),
        ("b.mp4", "libx264", 3, "cut.ts", lambda number, packet: packet if number >= 3 else None, 28),
    ],
)
def test_packets_that_are_not_frames_and_times_that_are_wrong(
    tmp_path, source, codec, between, target, change: Callable[[int, Packet], Packet | None], expected
):
    path = remux(write(tmp_path / source, codec, between=between), tmp_path / target, change)
    assert scan(path).frames == expected
    agrees(path)


def test_leading_frames_of_an_open_group_at_the_start_are_not_shown(tmp_path):
    whole = write(tmp_path / "a.mp4", "libx265", between=3, **OPEN_HEVC)
    key = [number for number, packet in enumerate(packets(whole)) if packet.is_keyframe][1]
    path = remux(whole, tmp_path / "b.mkv", lambda number, packet: packet if number >= key else None)
    assert scan(path).frames < 40 - key
    agrees(path)


def test_a_missing_table_of_showing_times(tmp_path):
    path = write(tmp_path / "a.mp4", between=3)
    path.write_bytes(path.read_bytes().replace(b"ctts", b"free"))
    agrees(path)


def test_a_stream_joined_to_itself_repeats_its_times(tmp_path):
    path = write(tmp_path / "a.ts", between=3)
    path.write_bytes(path.read_bytes() * 2)
    assert scan(path).frames == 80
    agrees(path)


def test_frames_that_need_what_was_cut_off_are_refused(tmp_path):
    whole = write(tmp_path / "a.mp4", "mpeg4")
    path = remux(whole, tmp_path / "b.mkv", lambda number, packet: packet if number else None)
    with pytest.raises(InputError, match=r"b\.mkv: its first frame depends on missing earlier frames"):
        scan(path)


def test_plain_files_are_not_decoded_by_a_scan_and_read_from_one_key_frame(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", between=3)
    monkeypatch.setattr(files, "_decoded_times", lambda path: pytest.fail("decoded"))
    seen, starts, decode_from = scan(path), [], files._decode_from
    monkeypatch.setattr(files, "_decode_from", lambda *args: starts.append(args[2]) or decode_from(*args))
    for number in (0, 11, 12, 30, 39):
        decode(path, seen, np.array([number]), WHOLE)
    assert starts == [0, 0, 12, 24, 36]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.sets(st.integers(0, 39), min_size=1, max_size=12), name=st.sampled_from(["a.mp4", "a.avi", "a.ts"]))
def test_any_frames_equal_those_of_the_whole(tmp_path_factory, frames, name):
    path = tmp_path_factory.getbasetemp() / "any" / name
    if not path.exists():
        write(path, between=3)
    seen, wanted = scan(path), np.array(sorted(frames))
    whole = decode(path, seen, np.arange(40), WHOLE)
    np.testing.assert_array_equal(decode(path, seen, wanted, WHOLE), whole[wanted])
