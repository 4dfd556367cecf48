"""From a run or its boxes to a page in the browser: what `stn-coloc review` does."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stn_cli.errors import InputError, ResourceError
from stn_cli.formats.json_file import read_json
from stn_cli.review.pictures import ReviewPictures, upright_size
from stn_cli.review.places import BOXES_NAME, ReviewFiles, find_images
from stn_cli.review.result import check_result
from stn_cli.review.session import ReviewSession
from stn_cli.runs.folder import IMAGES
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


def boxes_folder(run: Path) -> Path:
    """The folder in which a run's boxes are found for a review.

    Args:
        run: the run folder.

    Returns:
        `x-boxes` for `x-run` and for `x`.
    """
    named = Path(run.absolute().name)
    return run.absolute().parent / f"{named.name.removesuffix('-run') or named.name}-boxes"


def open_review(boxes: Path, images: Path | None, labels: list[str]) -> tuple[ReviewSession, ReviewPictures]:
    """Read the boxes and what was said of them, and find the images.

    Args:
        boxes: a COCO file.
        images: the folder of the images; looked for when None.
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
    names = (
        [row.get("file_name") for row in data.get("images") or [] if isinstance(row, dict)] if isinstance(data, dict) else []
    )
    if images is not None and not images.is_dir():
        raise InputError("no such folder", images, "--images")
    paths = find_images(boxes, [name for name in names if isinstance(name, str)], data.get("info"), images) if names else {}
    for row in data["images"] if paths else []:
        if not (row.get("width") and row.get("height")):
            row["width"], row["height"] = upright_size(paths[row["file_name"]])
    session = ReviewSession(data, files.boxes, files.journal, files.result)
    if not session.state.images:
        session.journal.close()
        raise InputError("nothing to review", boxes, "it lists no images")
    if labels:
        session.name_kinds(labels)
    return session, ReviewPictures(paths, {i.file: (i.width, i.height) for i in session.state.images})


def review_boxes(
    boxes: Path,
    *,
    images: Path | None = None,
    labels: list[str] | None = None,
    port: int | None = None,
    browser: bool = True,
    say: Callable[[str], None] = print,
    reporter: Reporter | None = None,
) -> ReviewSummary:
    """Serve the page until SIGINT or SIGTERM, then write the corrected file.

    Args:
        boxes: a COCO file.
        images: folder of its images; looked for when None.
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
    session, pictures = open_review(boxes, images, labels or [])
    try:
        for note in session.notes:
            (reporter or Silent()).warn(note)
        with listening(port) as open_socket:
            _serve(session, pictures, open_socket, say, browser)
        session.save()
    finally:
        session.journal.close()
    return ReviewSummary(session.result, len(session.state.images), session.reviewed)


def _serve(
    session: ReviewSession, pictures: ReviewPictures, open_socket: socket.socket, say: Callable[[str], None], browser: bool
) -> None:
    try:
        from stn_cli.review.server import ReviewApplication, new_token, serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stn_cli"):
            raise
        raise ResourceError("review needs a package that is missing", error.name, None, INSTALL) from error
    token = new_token()
    address = f"http://127.0.0.1:{open_socket.getsockname()[1]}/{token}/"
    application = ReviewApplication(session, pictures)
    application.save_now()

    def ready() -> None:
        say(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # some wait for it to end

    serve(application, token, open_socket, ready)


def listening(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone.

    Args:
        port: see `review_boxes`.

    Returns:
        The socket, bound.

    Raises:
        ResourceError: the port is taken or not to be had.
    """
    wanted = PORT if port is None else port
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            found.bind(("127.0.0.1", wanted))
            found.listen()
        except OSError:
            if port is not None:
                raise
            found.close()
            found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            found.bind(("127.0.0.1", 0))
            found.listen()
    except OSError as error:
        found.close()
        why = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        raise ResourceError("the port cannot be had", port, why, "Choose another --port, or leave it out") from error
    return found
