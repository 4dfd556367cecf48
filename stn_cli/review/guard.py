"""Who may talk to the page's server: this machine, with the token of the address, from the page itself."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
OWN_SITE = (b"same-origin", b"none")
"""What a browser says of requests of the page itself, and of an address that a person opened."""


class Guard:
    """Refuses what is not from the page of this review, and tells browsers to load nothing from elsewhere.

    A site that a browser has open can send requests to 127.0.0.1, and by a name that it controls (DNS rebinding) even read the answers:
    its `Host` or its `Origin` gives it away. Other users of the machine do not know the token.

    Args:
        application: what is guarded; its paths are those behind the token.
        token: the first part of each path.
        port: that the server listens at.
        once: a path that leads to the page once: what opens a browser, others see among the running programs.
    """

    def __init__(self, application: Application, token: str, port: int, once: str = "") -> None:
        self._application, self._token, self._once = application, token.encode(), once.encode()
        self._hosts = {f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode()}
        if port == 80:
            self._hosts |= {b"127.0.0.1", b"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        fault = self._fault(scope)
        if fault is None and self._is_once(scope):
            self._once = b""
            await _answer(send, 303, "", (b"location", b"/" + self._token + b"/"))
            return
        if fault is not None:
            await _answer(send, *fault)
            return
        rest = "/" + scope["path"].lstrip("/").partition("/")[2]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._application({**scope, "path": rest, "raw_path": rest.encode(), "root_path": ""}, receive, with_headers)

    def _is_once(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix("/").encode()
        return bool(self._once) and scope["method"] == "GET" and secrets.compare_digest(path, self._once)

    def _fault(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is refused: the status and a line; None where it is not."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        host = headers.get(b"host", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return 403, "another host"
        if any(origin != b"http://" + host[0] for origin in headers.get(b"origin", [])):
            return 403, "another origin"
        first, _, rest = scope["path"].lstrip("/").partition("/")
        # a link to the page may be opened from anywhere: whoever has it has the token
        opened = not rest and scope["method"] == "GET" and headers.get(b"sec-fetch-mode") == [b"navigate"]
        if any(site not in OWN_SITE for site in headers.get(b"sec-fetch-site", [])) and not opened:
            return 403, "another site"
        if self._is_once(scope):
            return None
        if not secrets.compare_digest(first.encode(), self._token):
            return 404, "not found: use the address that stn-coloc review printed last"
        kind = headers.get(b"content-type", [b""])[0].partition(b";")[0].strip()
        if scope["method"] == "POST" and kind != b"application/json":
            return 415, "JSON is wanted"
        return None


async def _answer(send: Send, status: int, why: str, *more: tuple[bytes, bytes]) -> None:
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *more, *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})
