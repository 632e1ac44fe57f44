"""Reading what an endpoint sends, up to a limit: a reply must not fill the memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

PLAIN = ("", "identity", "gzip", "deflate")
"""Encodings that are accepted: others can make gigabytes of a packet."""

SHOWN = 300
"""So many characters of an endpoint's error message are told."""


class TooLong(Exception):
    """A reply is longer than allowed, or packed in a way that hides how long it is."""


class Answered(Exception):
    """The endpoint has answered; raised by `reader`, because only so the client reads no more.

    Attributes:
        status: HTTP status.
        headers: HTTP headers.
        body: What was sent, unpacked.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body

    def content(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none; a RecursionError says that it is nested too deeply.
        """
        return json.loads(self.body)

    def error(self) -> tuple[str, str]:
        """Message and code of an error, as far as the body tells them."""
        try:
            found = self.content()
        except (ValueError, RecursionError):
            found = None
        inner = found.get("error", found) if isinstance(found, dict) else None
        code = inner.get("code") if isinstance(inner, dict) else None
        said = json.dumps(found) if found else self.body[:SHOWN].decode("utf-8", "replace")
        return said, str(code or "")


class Response(Protocol):
    """What is used of a response of the HTTP client."""

    status_code: int
    headers: Mapping[str, str]

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The unpacked body, piece by piece."""
        ...


class Reader:
    """A hook of the HTTP client that reads every response itself.

    Args:
        limit: Most bytes of a response.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def __call__(self, response: Response) -> None:
        """Read a response.

        Raises:
            Answered: It was read.
            TooLong: It is longer than the limit.
        """
        packed = response.headers.get("content-encoding", "").strip().lower()
        if packed not in PLAIN:
            raise TooLong(f"it is packed as {packed!r}, and only gzip and deflate are read")
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._limit:
                raise TooLong(f"it is longer than judge.max_reply_bytes={self._limit}")
        if response.status_code in (301, 302, 303, 307, 308):
            # followed, it would be read by the client, and the key would go to another address
            target = response.headers.get("location", "nowhere")
            body[:] = json.dumps(
                {"error": f"redirected to {target[:SHOWN]}: set judge.base_url to that address"}
            ).encode()
        raise Answered(response.status_code, response.headers, bytes(body))
