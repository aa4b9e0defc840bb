"""A file that was cut off is refused at every length, and a whole one never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_writing import write

from anyjepa.data.video.files import Decoding, decode, scan
from anyjepa.data.video.truncation import ends_early
from anyjepa.errors import InputError

FILES = {
    "a.avi": ("mpeg4", {}),
    "b.avi": ("mpeg4", {"stamp": lambda number: number + number // 8}),
    "a.mp4": ("libx264", {"between": 3}),
    "fast.mp4": ("libx264", {"container": {"movflags": "faststart"}}),
    "a.mov": ("prores_ks", {"between": None, "pixel_format": "yuv422p10le"}),
    "a.mkv": ("libx264", {"between": 3}),
    "a.webm": ("libvpx", {"between": None}),
    "a.wmv": ("wmv2", {}),
    "a.flv": ("flv", {}),
    "a.gif": ("gif", {"between": None, "pixel_format": "rgb8"}),
}


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused_or_has_all_its_frames(tmp_path_factory, name, share):
    folder = tmp_path_factory.getbasetemp() / "truncation"
    whole, cut = folder / name, folder / f"cut-{name}"
    if not whole.exists():
        codec, how = FILES[name]
        write(whole, codec, **how)
        assert scan(whole).frames == 40
        assert not ends_early(whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    try:
        seen = scan(cut)
        decode(cut, seen, np.arange(seen.frames), Decoding("grey", 16, "lazily"))
    except InputError:
        return
    assert seen.frames == 40  # only an index or a trailer is cut
    assert share > 0.8


@pytest.mark.parametrize("lost", [1, 5, 300, 1000, 2000])
def test_fragments(tmp_path, lost):
    """Nothing says how many there are, so a file that was cut between two fragments cannot be told from a whole one."""
    path = write(tmp_path / "a.mp4", container={"movflags": "frag_keyframe+empty_moov"})
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(InputError, match=r"a\.mp4: is truncated"):
        scan(path)


@pytest.mark.parametrize(
    ("name", "tail"), [("a.mp4", b"trailer of a camera" * 9), ("a.avi", b"junk" * 9), ("a.gif", bytes(3))]
)
def test_what_follows_a_whole_file_does_not_matter(tmp_path, name, tail):
    codec, how = FILES[name]
    path = write(tmp_path / name, codec, **how)
    path.write_bytes(path.read_bytes() + tail)
    assert scan(path).frames == 40


def test_sizes_that_a_pipe_leaves_open_are_not_truncation(tmp_path):
    """What is written to a pipe cannot be completed: RIFF sizes and Matroska segments have no length."""
    avi = write(tmp_path / "a.avi", "mpeg4", stamp=lambda number: number + number // 8)
    content = bytearray(avi.read_bytes())
    content[4:8] = bytes(4)
    avi.write_bytes(content)
    assert scan(avi).frames == 40
    mkv = write(tmp_path / "a.mkv")
    content = bytearray(mkv.read_bytes())
    size = content.index(b"\x18\x53\x80\x67") + 4
    content[size : size + 8] = b"\x01" + b"\xff" * 7
    mkv.write_bytes(content)
    assert scan(mkv).frames == 40
