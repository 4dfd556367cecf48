"""From a run or its boxes to a page in the browser: what `stn-coloc review` does."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from stn_cli.errors import InputError, ResourceError
from stn_cli.formats.coco_file import CocoImage, CocoImages, parse_coco
from stn_cli.formats.json_file import read_json
from stn_cli.formats.results_folder import BOXES_NAME
from stn_cli.jobs.relearn import relearn, run_of
from stn_cli.review.learning import Learner
from stn_cli.review.pictures import ReviewPictures, upright_size
from stn_cli.review.places import ReviewFiles, place_images, shown_name
from stn_cli.review.result import check_result
from stn_cli.review.session import ReviewSession
from stn_cli.runs.folder import IMAGES, boxes_folder
from stn_cli.runtime.progress import Reporter, Silent

PORT = 8765
"""Where the page is served unless that port is taken."""
INSTALL = "pip install 'stn-coloc[review]'"


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """What came of a review.

    Attributes:
        result: the corrected file.
        images: in the boxes.
        reviewed: those of them that a person has looked at.
    """

    result: Path
    images: int
    reviewed: int


def boxes_of(given: Path) -> Path | None:
    """The file of boxes that a run or boxes mean; None of a run whose boxes were not found yet.

    Args:
        given: a run folder, a folder of results, or a file.

    Returns:
        The file. The boxes of the run `x-run` or `x` are those in `x-boxes` beside it.

    Raises:
        InputError: nothing of the kind is there.
    """
    if given.is_file():
        return given
    if (given / BOXES_NAME).is_file():
        return given / BOXES_NAME
    if (given / IMAGES).is_file():
        beside = boxes_folder(given) / BOXES_NAME
        return beside if beside.is_file() else None
    why = "neither a run nor boxes" if given.exists() else "not there"
    raise InputError("nothing to review", given, why, "Make one: stn-coloc train ./images && stn-coloc localise")


def open_review(boxes: Path, source: Path | None, labels: list[str]) -> tuple[ReviewSession, ReviewPictures]:
    """Read the boxes and the corrections to them, and find the images.

    Args:
        boxes: a COCO file.
        source: the folder of the images; looked for when None.
        labels: names of the kinds; as they are in the file when empty.

    Returns:
        The review, and its pictures.

    Raises:
        InputError: the boxes cannot be used, or the images are not found.
        OutputError: the journal or the corrected file cannot be written.
    """
    files = ReviewFiles.of(boxes)
    check_result(files.result)
    data = read_json(boxes, "the file of boxes")
    coco = parse_coco(data, boxes)
    names = [image.file for image in coco.images.values()]
    if not names:
        raise InputError("nothing to review", boxes, "it lists no images")
    if source is not None and not source.is_dir():
        raise InputError("--source is no folder", source)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError("two images have one name", boxes, shown_name(twice))
    paths = place_images(boxes, names, data.get("info"), source)
    images = CocoImages()
    for key, image in coco.images.items():
        images.add(key, _sized(image, paths))
    session = ReviewSession(replace(coco, images=images), data, files)
    if labels:
        session.name_kinds(labels)
    return session, ReviewPictures(paths, {i.file: (i.width, i.height) for i in session.state.images})


def _sized(image: CocoImage, paths: dict[str, Path]) -> CocoImage:
    """An image with its size, which other tools may leave out."""
    if image.width and image.height:
        return image
    width, height = upright_size(paths[image.file]) if image.file in paths else (0, 0)
    return replace(image, width=width, height=height)


def review_boxes(
    boxes: Path,
    *,
    source: Path | None = None,
    labels: list[str] | None = None,
    port: int | None = None,
    browser: bool = True,
    say: Callable[[str], None] = print,
    reporter: Reporter | None = None,
) -> ReviewSummary:
    """Serve the page until SIGINT or SIGTERM, then write the corrected file.

    Args:
        boxes: a COCO file.
        source: folder of its images; looked for when None.
        labels: names of the kinds.
        port: to serve at; `PORT`, or a free one where that is taken, when None; a free one when 0.
        browser: also open the page.
        say: is told the address.
        reporter: is told what in the journal could not be used.

    Returns:
        What came of it.

    Raises:
        InputError, OutputError: see `open_review`; or the corrected file cannot be written in the end.
        ResourceError: the port is taken, or the libraries of the extra `review` are missing.
    """
    serving = _page_server()  # before anything is written
    session, pictures = open_review(boxes, source, labels or [])
    application = serving.ReviewApplication(session, pictures, _learner(session, source))

    def ready(address: str, once: str) -> None:
        say(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=[once], daemon=True).start()  # some wait for it to end

    try:
        for note in session.notes:
            (reporter or Silent()).warn(note)
        with listening(port) as open_socket:
            application.save_now()
            serving.serve(application, open_socket, ready)
        application.session.save()
    finally:
        if application.close():
            (reporter or Silent()).warn("what was being learnt was given up; no correction is lost")
    last = application.session  # of better boxes, where something was learnt
    return ReviewSummary(last.result, len(last.state.images), last.reviewed)


def _learner(session: ReviewSession, source: Path | None) -> Learner | None:
    """What learns from a review whose boxes are those of a run."""
    if run_of(session.boxes, session.data.get("info")) is None:
        return None
    return partial(relearn, reopen=lambda better: open_review(better, source, []), source=source)


def _page_server() -> ModuleType:
    """The module of the server, which needs the extra.

    Raises:
        ResourceError: its libraries are missing.
    """
    try:
        import stn_cli.review.serving as serving
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stn_cli"):
            raise
        raise ResourceError("review needs a package that is missing", error.name, None, INSTALL) from error
    return serving


def listening(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone.

    Args:
        port: see `review_boxes`.

    Returns:
        The socket, bound.

    Raises:
        ResourceError: the port is taken or not to be had.
    """
    found = _tcp_socket()
    try:
        try:
            found.bind(("127.0.0.1", PORT if port is None else port))
            found.listen()
        except OSError:
            if port is not None:
                raise
            found.close()
            found = _tcp_socket()
            found.bind(("127.0.0.1", 0))
            found.listen()
    except OSError as error:
        found.close()
        why = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        raise ResourceError("the port cannot be had", port, why, "Choose another --port, or leave it out") from error
    return found


def _tcp_socket() -> socket.socket:
    """A socket that says that it is TCP: only then does asyncio send each answer at once, and not 40 ms later."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
