"""Small video files with frames that tell their number, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

RATE = Fraction(1, 25)


def picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """(H, W, 3): the level tells the number, a bright block moves."""
    pixels = np.full((size[1], size[0], 3), 4 * number % 200, np.uint8)
    pixels[8:24, number % 40 : number % 40 + 12] = 220
    return pixels


def write(
    path: Path,
    codec: str = "libx264",
    frames: int = 40,
    *,
    between: int | None = 0,
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    stamp: Callable[[int], int] = lambda number: number,
    draw: Callable[[int], np.ndarray] | None = None,
    prepare: Callable[[VideoStream], object] = lambda stream: None,
    layout: str = "rgb24",
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """A video with a key frame every 12. between: B-frames between two others; stamp: times, in 1/25 s, by number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if codec == "libx265":
        options["x265-params"] = ":".join(["log-level=none", *filter(None, [options.get("x265-params")])])
    with av.open(str(path), "w", options=container or {}) as output:
        stream: Any = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.gop_size, stream.codec_context.time_base = 12, RATE
        stream.codec_context.thread_count = 1
        if between is not None:
            stream.codec_context.max_b_frames = between
        prepare(stream)
        for number in range(frames):
            pixels = draw(number) if draw else picture(number, size)
            frame = av.VideoFrame.from_ndarray(pixels, format=layout).reformat(format=pixel_format)
            frame.pts, frame.time_base = stamp(number), RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def remux(
    source: Path, target: Path, change: Callable[[int, Packet], Packet | None], container: dict[str, str] | None = None
) -> Path:
    """The packets of a file in another one, each changed or left out (None)."""
    with av.open(str(source)) as input, av.open(str(target), "w", options=container or {}) as output:
        stream: Any = output.add_stream_from_template(input.streams.video[0])
        for number, packet in enumerate(packets(source)):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = stream
                output.mux(changed)
    return target


def packets(path: Path) -> Iterator[Packet]:
    with av.open(str(path)) as container:
        yield from (packet for packet in container.demux(video=0) if packet.size)


def trimmed(source: Path, target: Path, seconds: float) -> Path:
    """What `ffmpeg -ss SECONDS -i SOURCE -c copy TARGET` writes: an edit list hides what was cut."""

    def earlier(number: int, packet: Packet) -> Packet:
        shift = int(seconds / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return packet

    return remux(source, target, earlier, {"avoid_negative_ts": "disabled"})


def shown(path: Path) -> np.ndarray:
    """(T, H, W, 3): every frame that FFmpeg shows, in its order."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24", interpolation="AREA") for frame in container.decode(video=0)])
