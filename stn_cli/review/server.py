"""The page's server: one page, the images' states, their pictures, and what a person says of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stn_cli.errors import ColocError, OutputError
from stn_cli.media.decode import Unusable
from stn_cli.review.guard import Guard
from stn_cli.review.learning import Learner, Learning
from stn_cli.review.pictures import ReviewPictures
from stn_cli.review.session import Conflict, ReviewSession
from stn_cli.review.state import STATUSES

PAGE_FILES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_BYTES = 4 << 20
"""Of what a page sends at once."""
EVERY = 2.0
"""Seconds between looks whether the corrected file is older than the journal."""


class ReviewApplication:
    """The answers to a page's requests.

    Args:
        session: the review.
        pictures: of its images.
        learner: learns from the corrections, and gives a review of the boxes that come of it; None where the boxes are of no run.
    """

    def __init__(self, session: ReviewSession, pictures: ReviewPictures, learner: Learner | None = None) -> None:
        self.session, self.pictures = session, pictures
        self._earlier: list[ReviewSession] = []
        self.learning = Learning(learner)
        self.unsaved = ""
        self._files = {
            f.name: (f.read_bytes(), PAGE_FILES["." + f.name.rpartition(".")[2]])
            for f in resources.files("stn_cli.review").joinpath("page").iterdir()
            if "." + f.name.rpartition(".")[2] in PAGE_FILES
        }

    def guarded(self, token: str, port: int, once: str = "") -> Guard:
        """The whole application behind its guard.

        Args:
            token: first part of each path.
            port: that it is served at.
            once: a path that leads to the page once.

        Returns:
            An ASGI application.
        """
        routes = [
            Route("/", self._page),
            Route("/page/{name}", self._page),
            Route("/state", self._state),
            Route("/changes", self._changes),
            Route("/thumbnail/{place:int}", self._thumbnail),
            Route("/image/{place:int}", self._image),
            Route("/act", self._act, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
            Route("/save", self._save, methods=["POST"]),
            Route("/learn", self._learn, methods=["POST"]),
        ]
        return Guard(Starlette(routes=routes), token, port, once)

    def _page(self, request: Request) -> Response:
        found = self._files.get(request.path_params.get("name", "index.html"))
        if found is None:
            return _json({"error": "no such file"}, 404)
        return Response(found[0], media_type=found[1], headers={"cache-control": "no-store"})

    def _in_session(self, do: Callable[[ReviewSession], Any]) -> Any:
        """Do something in the review once nobody else writes; it may be that of better boxes by then."""
        while True:
            session = self.session
            with session.journal.locked():
                if session is self.session:
                    return do(session)

    def _state(self, request: Request) -> Response:
        return _json(
            self._in_session(
                lambda session: {
                    "boxes": os.path.abspath(session.boxes),
                    "result": str(session.result),
                    "kinds": [{"id": key, "name": name} for key, name in session.state.categories.items()],
                    "seq": session.journal.last,
                    "notes": session.notes,
                    "learning": self.learning.as_json(),
                    "images": self._entries(range(len(session.state.images))),
                }
            )
        )

    def _changes(self, request: Request) -> Response:
        def changes(session: ReviewSession) -> Response:
            session.catch_up()
            return self._answer(session.changed_since(since))

        try:
            since = int(request.query_params.get("since", "0"))
            answer: Response = self._in_session(changes)
            return answer
        except ValueError:
            return _json({"error": "no number"}, 422)
        except ColocError as error:
            return _json({"error": error.line()}, 507)

    def _answer(self, places: Iterable[int], status: int = 200, **more: Any) -> Response:
        def answer(session: ReviewSession) -> dict[str, Any]:
            entries = {"seq": session.journal.last, "images": self._entries(places), "boxes": os.path.abspath(session.boxes)}
            return {**entries, "unsaved": self.unsaved, "learning": self.learning.as_json(), **more}

        return _json(self._in_session(answer), status)

    def _entries(self, places: Iterable[int]) -> list[dict[str, Any]]:
        """Images as the page has them, short: there may be many."""
        out = []
        for place in places:
            image = self.session.state.images[place]
            mark = image.mark
            out.append(
                {
                    "i": place,
                    "f": image.file,
                    "w": image.width,
                    "h": image.height,
                    "s": round(image.doubt_score, 4),
                    "st": STATUSES.index(mark.status),
                    "seq": mark.seq,
                    "o": [[*o.box, o.kind, o.score, int(o.human)] for o in mark.objects],
                }
            )
        return out

    def _thumbnail(self, request: Request) -> Response:
        try:
            data = self.pictures.thumbnail(self._named(request))
        except Unusable as reason:
            return _json({"error": str(reason)}, 410)
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    def _image(self, request: Request) -> Response:
        try:
            data, kind = self.pictures.whole(self._named(request))
        except Unusable as reason:
            return _json({"error": str(reason)}, 410)
        return Response(data, media_type=kind, headers={"cache-control": "no-store"})

    def _named(self, request: Request) -> str:
        images = self.session.state.images
        place = int(request.path_params["place"])
        if place >= len(images):
            raise Unusable("no such image")
        return images[place].file

    async def _act(self, request: Request) -> Response:
        def act(asked: Any) -> list[int]:
            page, images, seen = str(asked["page"]), list(asked["images"]), asked.get("boxes")
            return list(self._in_session(lambda session: session.act(page, images, seen)))

        return await self._asked(request, act)

    async def _undo(self, request: Request) -> Response:
        return await self._asked(request, lambda asked: self._in_session(lambda session: session.undo(str(asked["page"]))))

    async def _save(self, request: Request) -> Response:
        def save(asked: Any) -> list[int]:
            self.session.save()
            self.unsaved = ""
            return []

        return await self._asked(request, save)

    async def _learn(self, request: Request) -> Response:
        return await self._asked(request, lambda asked: self._begin_to_learn())

    def _begin_to_learn(self) -> list[int]:
        if not self.session.reviewed:
            raise Conflict("no image is reviewed yet", [])
        if not self.learning.begin(self.session, self._go_on_with):
            raise Conflict("it is learning already, or there is no run to go on from", [])
        return []

    def _go_on_with(self, session: ReviewSession, pictures: ReviewPictures) -> None:
        """Review other boxes from now on; pages hear of it, and load them."""
        self._earlier.append(self.session)  # whoever waits for its journal looks which one is at work
        self.session, self.pictures = session, pictures

    def close(self) -> bool:
        """Let go of all files.

        Returns:
            Whether something was being learnt, which was ended.
        """
        learning = self.learning.stop()
        for session in (*self._earlier, self.session):
            session.journal.close()
        return learning

    async def _asked(self, request: Request, do: Any) -> Response:
        """Do what a page asks for; whatever goes wrong, it hears of it, and nothing was done."""
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return _json({"error": "too much at once"}, 413)
        try:
            return self._answer(await run_in_threadpool(lambda: do(json.loads(bytes(body)))))
        except Conflict as error:
            return self._answer(error.places, 409, error=error.line())
        except OutputError as error:
            return _json({"error": error.line()}, 507)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return _json({"error": f"not done: {error}"}, 422)

    def keep_saved(self, stop: threading.Event) -> None:
        """Write the corrected file whenever it is older than the journal, until the end; the page hears where that fails.

        Args:
            stop: set at the end.
        """
        while not stop.wait(EVERY):
            self.save_now()

    def save_now(self) -> None:
        """Write the corrected file if it is older than the journal."""
        try:
            self.session.save()
            self.unsaved = ""
        except ColocError as error:
            self.unsaved = error.line()


def _json(value: object, status: int = 200) -> Response:
    data = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Response(data, status, media_type="application/json", headers={"cache-control": "no-store"})
