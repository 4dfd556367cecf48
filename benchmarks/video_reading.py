"""Reading video by PyAV and by OpenCV: speed, seeking, time stamps, damaged files, codecs.

    python -m benchmarks.video_reading [PART ...]

The videos are made here: every frame carries its number, as black and white squares along its upper edge, so that it is known which
frame was given.

    speed      100 frames of 1280x720 to RGB, H.264 and MPEG-4, all ways in turn, three times: frames/s, and milliseconds of the
               processor, all threads, which other programs disturb less
    seeking    milliseconds to a random frame of the H.264 one (a key frame every 50), and how often it was another
    stamps     largest error, milliseconds, where the frames do not come evenly, and where the first one is not at 0
    damage     frames of 300 from files that are cut off, overwritten or no video, how many of them differ from the whole file's, what is said
    codecs     which are read
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs as a file

import av
import cv2
import numpy as np

import stn_cli.media.capture  # noqa: F401  it keeps OpenCV's FFmpeg quiet, as in the package
from benchmarks.common import chosen
from benchmarks.provenance import begin, earlier, save

PARTS = ("speed", "seeking", "stamps", "damage", "codecs")
FRAMES, RATE, SQUARE = 300, 25, 32
CODECS = {"h264": "libx264", "hevc": "libx265", "mpeg4": "mpeg4", "vp9": "libvpx-vp9", "av1": "libsvtav1", "mjpeg": "mjpeg"}
Pixels = Any


def picture(number: int, size: tuple[int, int]) -> Pixels:
    """A moving ground of blobs, with the frame's number along its upper edge; (H, W, 3) RGB."""
    w, h = size
    ground = cv2.resize(
        np.random.default_rng(0).integers(30, 220, (h // 16, w // 8, 3), np.uint8), (2 * w, h), interpolation=cv2.INTER_CUBIC
    )
    x = (3 * number) % w
    image = np.ascontiguousarray(ground[:, x : x + w])
    for bit in range(10):
        image[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 * (number >> bit & 1)
    return image


def number_of(image: Pixels) -> int:
    """The number that a frame carries."""
    half = SQUARE // 2
    return sum(int(image[half, bit * SQUARE + half].mean() > 127) << bit for bit in range(10))


def write(
    path: Path, codec: str, frames: int = FRAMES, size: tuple[int, int] = (640, 360), stamps: list[int] | None = None
) -> None:
    """Encode; `stamps` are the frames' times in thousandths of a second, even ones when left out."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 50
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i, size), "rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def by_opencv(path: Path) -> Iterator[tuple[float, Pixels]]:
    """As the package reads: time stamp in seconds, RGB."""
    capture = cv2.VideoCapture(str(path))
    try:
        while capture.grab():
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            done, pixels = capture.retrieve()
            if done:
                yield stamp, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def by_pyav(path: Path, convert: str = "swscale", threads: str = "AUTO") -> Iterator[tuple[float, Pixels]]:
    """Time stamp in seconds, RGB; `convert` by swscale, by OpenCV from the planes, or not at all (planes as they are)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = threads
        for frame in container.decode(stream):
            if convert == "swscale":
                pixels = frame.to_ndarray(format="rgb24")
            else:
                pixels = frame.to_ndarray() if convert == "OpenCV" else frame
                if convert == "OpenCV":
                    pixels = cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_I420)
            yield float(frame.time or 0), pixels


WAYS: dict[str, Callable[[Path], Iterator[tuple[float, Pixels]]]] = {
    "OpenCV": by_opencv,
    "PyAV, swscale": by_pyav,
    "PyAV, planes converted by OpenCV": lambda path: by_pyav(path, "OpenCV"),
    "PyAV, not converted": lambda path: by_pyav(path, "none"),
    "PyAV, swscale, one thread": lambda path: by_pyav(path, threads="NONE"),
}


def speed(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for codec in ("h264", "mpeg4"):
        path = folder / "speed.mp4"
        write(path, CODECS[codec], frames=100, size=(1280, 720))
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(3):
            for way, read in WAYS.items():
                begun, busy = time.perf_counter(), time.process_time()
                count = sum(1 for _ in read(path))
                spent[way].append(((time.perf_counter() - begun) / count, (time.process_time() - busy) / count))
        rows[codec] = {
            way: {
                "frames_per_second": round(1 / median(t for t, _ in each), 1),
                "cpu_ms": round(1000 * median(t for _, t in each), 2),
            }
            for way, each in spent.items()
        }
        print(codec, rows[codec], flush=True)
    return rows


def seek_opencv(path: Path, wanted: list[int]) -> list[int]:
    """Numbers of the frames that are given."""
    capture = cv2.VideoCapture(str(path))
    found = []
    for number in wanted:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        done, image = capture.read()
        found.append(number_of(image) if done else -1)
    capture.release()
    return found


def seek_pyav(path: Path, wanted: list[int]) -> list[int]:
    """The same by the nearest key frame before, and decoding on from there."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number in wanted:
            at = round(number / RATE / float(stream.time_base or 1))
            container.seek(at, stream=stream)
            frame = next((f for f in container.decode(stream) if f.pts is not None and f.pts >= at), None)
            found.append(-1 if frame is None else number_of(frame.to_ndarray(format="rgb24")))
    return found


def seeking(folder: Path) -> dict[str, Any]:
    path = folder / "seek.mp4"
    write(path, CODECS["h264"], size=(1280, 720))
    wanted = [random.Random(0).randrange(FRAMES) for _ in range(40)]
    rows = {}
    for way, seek in (("OpenCV", seek_opencv), ("PyAV", seek_pyav)):
        begun = time.perf_counter()
        found = seek(path, wanted)
        spent = 1000 * (time.perf_counter() - begun) / len(wanted)
        rows[way] = {"milliseconds": round(spent, 1), "wrong": sum(a != b for a, b in zip(found, wanted, strict=True))}
        print(way, rows[way], flush=True)
    return rows


def stamps(folder: Path) -> dict[str, Any]:
    rng = random.Random(0)
    uneven, at = [], 0
    for _ in range(FRAMES):
        uneven.append(at)
        at += rng.choice((20, 33, 40, 100, 700))
    rows: dict[str, Any] = {}
    for name, truth in (("uneven", uneven), ("starts at 2 s", [2000 + 40 * i for i in range(FRAMES)])):
        path = folder / "stamps.mp4"
        write(path, CODECS["h264"], stamps=truth)
        rows[name] = {}
        for way, read in (("OpenCV", by_opencv), ("PyAV", by_pyav)):
            said = [(stamp, number_of(image)) for stamp, image in read(path)]
            rows[name][way] = {"frames": len(said), "worst_ms": round(max(abs(1000 * t - truth[n]) for t, n in said), 1)}
        print(name, rows[name], flush=True)
    return rows


def damaged(folder: Path) -> dict[str, Path]:
    """What is wrong -> a file."""
    whole = folder / "whole.mp4"
    write(whole, CODECS["h264"])
    stream = folder / "whole.mkv"
    write(stream, CODECS["h264"])
    data, packets = whole.read_bytes(), bytearray(stream.read_bytes())
    rng = random.Random(0)
    for _ in range(40):
        at = rng.randrange(len(packets) // 4, len(packets))
        packets[at] = rng.randrange(256)
    files = {
        "MP4 cut off (its index is lost)": (".mp4", data[: len(data) * 6 // 10]),
        "Matroska cut off": (".mkv", stream.read_bytes()[: len(packets) * 6 // 10]),
        "Matroska, 40 bytes overwritten": (".mkv", bytes(packets)),
        "text": (".mp4", b"no video at all\n" * 100),
    }
    out = {}
    for number, (what, (suffix, content)) in enumerate(files.items()):
        out[what] = folder / f"damaged{number}{suffix}"
        out[what].write_bytes(content)
    return out


def damage(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    files = damaged(folder)
    sound = [image for _, image in by_opencv(folder / "whole.mkv")]
    for what, path in files.items():
        rows[what] = {}
        for way, read in (("OpenCV", by_opencv), ("PyAV", by_pyav)):
            row: dict[str, Any] = {"frames": 0, "differ": 0, "says": None}
            try:
                for _, image in read(path):
                    row["frames"] += 1
                    number = number_of(image)
                    row["differ"] += number >= len(sound) or float(np.abs(image.astype(int) - sound[number]).mean()) > 3
            except (av.FFmpegError, cv2.error) as error:
                row["says"] = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
            rows[what][way] = row
        print(what, rows[what], flush=True)
    return rows


def codecs(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for codec, encoder in CODECS.items():
        path = folder / f"{codec}.mkv"
        try:
            write(path, encoder, frames=30)
        except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            rows[codec] = {"encoder": f"not there: {error}"}
            continue
        for way, read in (("OpenCV", by_opencv), ("PyAV", by_pyav)):
            try:
                count = sum(1 for _ in read(path))
            except (av.FFmpegError, cv2.error):
                count = 0
            rows.setdefault(codec, {})[way] = count
        print(codec, rows[codec], flush=True)
    return rows


def main() -> None:
    wanted = chosen(__doc__, "PART", PARTS)
    begin()
    rows = earlier("video_reading")
    for number, name in enumerate(wanted, 1):
        with tempfile.TemporaryDirectory() as temporary:
            part = {"speed": speed, "seeking": seeking, "stamps": stamps, "damage": damage, "codecs": codecs}[name]
            rows[name] = part(Path(temporary))
        ordered = {part: rows[part] for part in PARTS if part in rows}
        save(
            "video_reading",
            {"sets": ordered, "opencv_ffmpeg": _opencv_ffmpeg()},
            ("stn_cli/media/video.py", "stn_cli/media/capture.py"),
            rows=wanted[:number],
        )


def _opencv_ffmpeg() -> dict[str, str]:
    """The versions of libavcodec: of OpenCV's build, and of PyAV's."""
    lines = [line.split(":")[1].strip() for line in cv2.getBuildInformation().splitlines() if "avcodec:" in line]
    return {"OpenCV": lines[0] if lines else "unknown", "PyAV": ".".join(map(str, av.library_versions["libavcodec"]))}


if __name__ == "__main__":
    main()
