"""Decode single frames of video files with PyAV (FFmpeg). Broken and truncated files are detected before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anyjepa.data.files import regular_size
from anyjepa.data.mounts import on_disk
from anyjepa.data.video.pixels import Decoding, View
from anyjepa.data.video.truncation import ends_early
from anyjepa.errors import InputError
from anyjepa.limits import MEMORY, PIXELS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg detects formats by content, and a playlist in a file could open other files and addresses.
CONTAINERS = "mov,mp4,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv,h264,hevc,m4v,ivf,ogg,gif"
ONLY_THIS_FILE = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".gif"),
)
NOTHING_NEW = 8  # largest size in bytes of an MPEG-4 packet that shows no frame
FURTHEST = 16  # largest difference between a frame's positions in decoding order and in display order


class Scan(NamedTuple):
    """The frames that a file shows, and where decoding can start."""

    times: np.ndarray | None  # (T,) a distinct timestamp of each frame, in the stream's unit; None if there are none
    keys: np.ndarray  # (K, 2) frames from which decoding can start, and where to seek them
    frames: int
    checksum: str  # of all packets
    strict: bool = True  # decoder errors mean damage; False: H.264 that starts in an open group of pictures


def scan(path: Path) -> Scan:
    """Read the packets of a file; decode them only if they leave open which frames are shown, and in which order.

    Raises InputError if it is not a video, or ends before its last frame.
    """
    packets, last, digest = [], None, blake2b(digest_size=12)
    with _opened(path) as (container, stream):
        codec, reorders = stream.codec_context.name, bool(stream.codec_context.has_b_frames)
        named, avi = stream.frames, container.format.name == "avi"
        for packet in _packets(container, stream):
            digest.update(packet)
            hidden = packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 16)  # RFC 6386, section 9.1
            packets.append((packet.pts, packet.dts, packet.is_keyframe, not hidden, packet.size))
            last = packet
    if last is None:
        raise InputError(f"{path}: contains no frame")
    pts, dts, key, shown, sizes = zip(*packets, strict=True)
    all_there = avi and named == len(pts)  # only the index is truncated, or the declared size is wrong
    if last.is_corrupt or (not all_there and ends_early(path)):
        declared = f"{named} frames, but it has {len(pts)}" if named > len(pts) else "more bytes than it has"
        raise InputError(f"{path}: is truncated: its header declares {declared}")
    plain = (codec != "mpeg4" or min(sizes) > NOTHING_NEW) and _in_order(pts, key, reorders)
    times = sorted(compress(pts, shown)) if plain else _decoded_times(path)
    if not times:
        raise InputError(f"{path}: shows no frame")
    timed = plain or (None not in times and len(set(times)) == len(times))
    places = {p: p if d is None else d for p, d in compress(zip(pts, dts, strict=True), key)}
    starts = [(number, places[time]) for number, time in enumerate(times) if time in places] if timed else []
    if not key[0] and not (starts and starts[0][0] == 0):
        raise InputError(f"{path}: its first frame depends on missing earlier frames; cut the file at a key frame")
    keys = np.array(starts, np.int64).reshape(-1, 2)
    strict = not (codec == "h264" and timed and _leads(pts[key.index(True) :]))
    return Scan(np.array(times, np.int64) if timed else None, keys, len(times), digest.hexdigest(), strict)


def _in_order(pts: Sequence[int | None], key: Sequence[bool], reorders: bool) -> bool:
    """Whether packet timestamps are those of the shown frames. reorders: whether the codec says that it may reorder."""
    if None in pts or not key[0]:
        return False
    times = np.array(pts, np.int64)
    if len(pts) == 1 or not reorders:
        return bool((times[1:] > times[:-1]).all())
    by_time = np.sort(times)
    late = np.maximum.accumulate(times) > times
    return bool(
        (by_time[1:] > by_time[:-1]).all()
        and times[0] == by_time[0]
        and late.any()  # otherwise they are decoding times
        and not late[np.array(key)].any()  # a key frame is shown after all frames decoded before it
        and (times[:-FURTHEST] <= by_time[FURTHEST:]).all()
        and (times[FURTHEST:] >= by_time[:-FURTHEST]).all()
    )


def _leads(pts: Sequence[int | None]) -> bool:
    """Whether the second frame is shown before the first."""
    return len(pts) > 1 and pts[0] is not None and pts[1] is not None and pts[1] < pts[0]


def _decoded_times(path: Path) -> list[int | None]:
    with _opened(path) as (container, stream):
        return [frame.pts for frame in _frames(stream, _packets(container, stream))]


def decode(path: Path, seen: Scan, frames: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Decode the frames with these ascending numbers, (T, H, W, C) uint8. Raises InputError if this fails.

    Decoding starts at the last key frame before the first of them, or earlier if that is not enough.
    """
    usable = seen.keys[: np.searchsorted(seen.keys[:, 0], frames[0], side="right")].tolist()
    back = 1
    while back <= len(usable) and usable[-back][0] > 0:
        try:
            return _decode_from(path, seen, usable[-back][0], usable[-back][1], frames, decoding)
        except InputError:
            back *= 2
    return _decode_from(path, seen, 0, None, frames, decoding)


def _decode_from(
    path: Path, seen: Scan, number: int, place: int | None, frames: np.ndarray, decoding: Decoding
) -> np.ndarray:
    """number: first frame, 0 or a key frame. place: where to seek it; None: decode from the start."""
    requested, kept = set(frames.tolist()), []
    with _opened(path) as (container, stream):
        size = stream.codec_context.width, stream.codec_context.height
        strict = {"err_detect": "explode"} if seen.strict else {}  # otherwise FFmpeg invents damaged frames
        stream.codec_context.options = {"max_pixels": str(PIXELS.value), **strict}  # later frames may be larger
        stream.thread_type = "SLICE"  # frames of one file in order; workers are the parallel ones
        packets = _packets(container, stream)
        if place is not None:
            container.seek(place, stream=stream)
        if seen.times is not None:
            packets = _from_key(packets, int(seen.times[number]), sought=place is not None)
        view = None
        for frame in _frames(stream, packets):
            if seen.times is not None and frame.pts != seen.times[number]:
                break
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {number} is damaged")
            if view is None:
                view = View.of(frame, stream.sample_aspect_ratio, decoding)
                size = size if all(size) else view.stored
                MEMORY.check(6 * len(frames) * prod(view.scaled), f"{path}: decoding {len(frames)} frames at once")
            if (frame.width, frame.height) != size or frame.rotation != view.rotation:
                raise InputError(
                    f"{path}: the size or rotation of its frames changes at frame {number}; split the file there"
                )
            if number in requested:
                kept.append(view.pixels(frame))
            if number == frames[-1]:
                return np.stack(kept)
            number += 1
    raise InputError(f"{path}: frame {number} cannot be decoded")


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except IndexError:  # raised by PyAV at the end if an audio stream began late
        return


def _frames(stream: VideoStream, packets: Iterator[Packet]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from packet.decode()
    yield from stream.codec_context.decode(None)


def _from_key(packets: Iterator[Packet], first: int, sought: bool) -> Iterator[Packet]:
    """Packets from a key frame on, without those after it that are shown before it and need earlier frames.

    first: timestamp of the first requested frame; sought: the key frame has it, else it is the file's first.
    """
    start: int | None = None
    leading = True
    for packet in packets:
        if start is not None:
            leading = leading and packet.pts is not None and packet.pts < start
            if not leading:
                yield packet
        elif packet.is_keyframe and (packet.pts == first or not sought):
            start = first if packet.pts is None else min(first, packet.pts)
            yield packet


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream. Errors of FFmpeg inside the context become InputError."""
    try:
        import av
        from av.error import FFmpegError
        from av.stream import Disposition
    except ImportError:
        raise InputError(f"{path}: video files need PyAV: pip install 'anyjepa[video]'") from None
    regular_size(path)
    try:
        with on_disk(path) as real, av.open(f"file:{real}", options=ONLY_THIS_FILE) as container:
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                cover = ", only a cover picture" if container.streams.video else ""
                raise InputError(f"{path}: has no video{cover}")
            stream = streams[0]
            if stream.codec_context is None:
                raise InputError(f"{path}: has an unknown codec")
            PIXELS.check(stream.codec_context.width * stream.codec_context.height, f"{path}: a frame")
            yield container, stream
    except (FFmpegError, ValueError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: is broken or not a video ({reason})") from None


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
