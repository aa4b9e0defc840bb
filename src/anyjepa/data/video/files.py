"""Video files, decoded by PyAV (FFmpeg), exact to the frame; what is broken or truncated is found before training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from anyjepa.data.files import regular_size
from anyjepa.data.images.preprocessing import Colours
from anyjepa.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg looks at what is in a file, and a play list in it would open other files and addresses.
CONTAINERS = "mov,mp4,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv,h264,hevc,m4v,ivf,ogg"
ONLY_THIS_FILE = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv")


class Decoding(NamedTuple):
    """How frames are decoded."""

    colours: Colours
    short_side: int  # pixels; larger frames are made smaller, by area
    when: Literal["ahead", "lazily"]


class Scan(NamedTuple):
    """What a look at a file's packets says, without decoding them."""

    times: np.ndarray | None  # (T,) ascending, of each frame, in the stream's unit; None if packets do not say them
    frames: int
    checksum: str  # of all packets


def scan(path: Path) -> Scan:
    """InputError for what is no video, and for a file that ends before its last frame."""
    times, digest = [], blake2b(digest_size=12)
    with _opened(path) as (container, stream):
        for packet in container.demux(stream):
            if packet.size:
                digest.update(bytes(packet))
                if not packet.is_discard:
                    times.append(packet.pts)
        said = stream.frames
    if not times:
        raise InputError(f"{path}: there is no frame in it")
    if len(times) < said:
        raise InputError(f"{path}: is truncated: {said} frames are named, {len(times)} are there")
    known = None not in times and len(set(times)) == len(times)
    return Scan(np.sort(np.array(times)) if known else None, len(times), digest.hexdigest())


def decode(path: Path, seen: Scan, frames: np.ndarray, decoding: Decoding) -> np.ndarray:
    """(T, H, W, C) uint8: the frames with these ascending numbers. InputError for a frame that cannot be decoded.

    Decoding starts at the last key frame before the first of them.
    """
    wanted, kept = set(frames.tolist()), {}
    with _opened(path) as (container, stream):
        stream.codec_context.options = {"err_detect": "explode"}  # else damaged frames are made up
        stream.thread_type = "SLICE"  # frames of one file in order; workers are the parallel ones
        if seen.times is not None and frames[0]:
            container.seek(int(seen.times[frames[0]]), stream=stream)
        for count, frame in enumerate(container.decode(stream)):
            number = count if seen.times is None else int(np.searchsorted(seen.times, frame.pts or 0))
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {number} is damaged")
            if number in wanted:
                kept[number] = _pixels(frame, decoding)
            if number >= frames[-1]:
                break
    if missing := sorted(wanted - set(kept)):
        raise InputError(f"{path}: frame {missing[0]} cannot be decoded")
    return np.stack([kept[number] for number in frames.tolist()])


def _pixels(frame: VideoFrame, decoding: Decoding) -> np.ndarray:
    """(H, W, C) uint8; a turned picture (phones) stays as it is stored."""
    scale = min(1.0, decoding.short_side / min(frame.width, frame.height))
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    kind = "gray" if decoding.colours == "grey" else "rgb24"
    pixels = frame.reformat(*size, format=kind, interpolation="AREA").to_ndarray()
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first video stream; whatever FFmpeg refuses meanwhile is an InputError."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise InputError(f"{path}: video files need PyAV: pip install 'anyjepa[video]'") from None
    regular_size(path)
    try:
        with av.open(f"file:{path}", options=ONLY_THIS_FILE) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no picture")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise InputError(f"{path}: its codec is not known")
            yield container, stream
    except (FFmpegError, ValueError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: is broken or no video ({reason})") from None


@dataclass(frozen=True, eq=False)
class VideoFiles:
    """`Videos` that stay in their files."""

    files: tuple[Path, ...]
    scans: tuple[Scan, ...]
    decoding: Decoding

    @property
    def lengths(self) -> np.ndarray:
        return np.array([seen.frames for seen in self.scans])

    @property
    def checksums(self) -> tuple[str, ...]:
        return tuple(seen.checksum for seen in self.scans)

    def read(self, index: int, frames: np.ndarray) -> np.ndarray:
        return decode(self.files[index], self.scans[index], frames, self.decoding)

    def rows(self, index: np.ndarray) -> VideoFiles:
        return VideoFiles(tuple(self.files[i] for i in index), tuple(self.scans[i] for i in index), self.decoding)
