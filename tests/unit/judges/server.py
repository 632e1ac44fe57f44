"""A small chat endpoint on this machine, which fails on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Act:
    """What the server does with one request.

    Attributes:
        text: The reply.
        status: HTTP status; anything but 200 is sent with an error body.
        headers: Further headers.
        stall: Seconds before anything is sent.
        body: Sent instead of a chat completion.
        content_type: Of the body.
        hang_up: Close the connection without a word.
        drip: Seconds between the bytes of the body.
        usage: Whether lengths are told.
        code: Error code of the body.
        declared: Length that is promised in place of that of the body.
    """

    text: str | None = "ok"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stall: float = 0.0
    body: bytes | None = None
    content_type: str = "application/json"
    hang_up: bool = False
    drip: float = 0.0
    usage: bool = True
    code: str = ""
    declared: int | None = None


Behavior = Callable[[dict[str, Any], int], Act]
"""From the request and its number (from 0) to what happens."""


class Endpoint:
    """The running server: what it saw, and how many requests were in it at once."""

    def __init__(self, behavior: Behavior) -> None:
        self.behavior = behavior
        self.requests: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                endpoint._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that has gone away is part of the tests."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        assert handler.path == "/v1/chat/completions"
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.keys.append(handler.headers["Authorization"])
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            act = self.behavior(body, number)
            time.sleep(act.stall)
            if act.hang_up:
                handler.close_connection = True
                return
            content = act.body if act.body is not None else self._completion(body, act)
            with self._lock:
                # before the bytes leave: a client may ask again as soon as it has them
                self._now -= 1
                if act.status == 200:
                    self.answered.append(body)
            handler.send_response(act.status)
            handler.send_header("Content-Type", act.content_type)
            length = len(content) if act.declared is None else act.declared
            handler.send_header("Content-Length", str(length))
            handler.close_connection = act.declared is not None
            for name, value in act.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            if act.drip:
                for byte in content:
                    handler.wfile.write(bytes([byte]))
                    handler.wfile.flush()
                    time.sleep(act.drip)
            else:
                handler.wfile.write(content)
        finally:
            if act.hang_up:
                with self._lock:
                    self._now -= 1

    @staticmethod
    def _completion(body: dict[str, Any], act: Act) -> bytes:
        if act.status != 200:
            error = {"message": f"no: {act.status}", "type": "test", "code": act.code or None}
            return json.dumps({"error": error}).encode()
        message = {"role": "assistant", "content": act.text}
        content: dict[str, Any] = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"] + "-dated",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        }
        if act.usage:
            content["usage"] = {
                "prompt_tokens": 100,
                "completion_tokens": 10,
                "total_tokens": 110,
            }
        return json.dumps(content).encode()


@contextmanager
def serving(behavior: Behavior) -> Iterator[Endpoint]:
    """A server for the time of a block."""
    endpoint = Endpoint(behavior)
    thread = threading.Thread(target=endpoint.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.server.shutdown()
        endpoint.server.server_close()
