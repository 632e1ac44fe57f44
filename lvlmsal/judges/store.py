"""Every reply of a judge, kept in an append-only file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lvlmsal.errors import DataError
from lvlmsal.judges.client import Reply
from lvlmsal.judges.endpoint import Endpoint, judge_name
from lvlmsal.metrics.judged import JudgeRequest


@dataclass(frozen=True)
class Usage:
    """What replies have taken.

    Attributes:
        replies: How many there are.
        calls: How often a request was sent for them, repeated tries included.
        prompt_tokens: Length of all requests.
        completion_tokens: Length of all replies.
        untold: Replies for which the endpoint did not tell the lengths.
    """

    replies: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0

    def plus(self, prompt: int | None, completion: int | None, attempt: int) -> Usage:
        """With one more reply."""
        return Usage(
            self.replies + 1,
            self.calls + attempt,
            self.prompt_tokens + (prompt or 0),
            self.completion_tokens + (completion or 0),
            self.untold + (prompt is None or completion is None),
        )


class ReplyStore:
    """Replies by judge and request, read once and then appended to.

    What `add` returned from survives a kill. A last line that a kill has cut off is dropped, and
    cut out of the file by the next `add`.

    Args:
        path: A file of JSON lines; one that is not there holds no replies.

    Raises:
        DataError: A line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._replies: dict[str, dict[str, str]] = {}
        self._usage: dict[str, Usage] = {}
        self._whole = 0
        if path.is_file():
            self._read(path.read_bytes())

    @property
    def judges(self) -> list[str]:
        """The judges that have replied, as `Endpoint.judge` names them."""
        return [judge for judge, replies in self._replies.items() if replies]

    def replies(self, judge: str) -> Mapping[str, str]:
        """Replies of one judge by `JudgeRequest.key`; what is added later shows up here."""
        return self._replies.setdefault(judge, {})

    def usage(self, judge: str) -> Usage:
        """What the replies of one judge have taken, over all sessions."""
        return self._usage.get(judge, Usage())

    def add(self, request: JudgeRequest, endpoint: Endpoint, reply: Reply) -> None:
        """Append a reply and hand it to the disk."""
        if self._file is None:
            if self.path.is_file() and self.path.stat().st_size != self._whole:
                with self.path.open("r+b") as file:
                    file.truncate(self._whole)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="ascii", newline="\n")
        written = endpoint.written
        line = {
            "key": request.key,
            "model": written["model"],
            "endpoint": written["base_url"].rstrip("/"),
            "options": written["options"],
            "reply": reply.text,
            "usage": {
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            },
            "seconds": reply.seconds,
            "attempt": reply.attempt,
            "answered_by": reply.model,
            "finish": reply.finish,
            "request": dataclasses.asdict(request),
        }
        # ASCII, so that no text whatever can break a line or the encoding
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._keep(line)

    def close(self) -> None:
        """Close the file; a later `add` opens it again."""
        if self._file is not None:
            self._file.close()
            self._whole = self.path.stat().st_size
            self._file = None

    def _read(self, content: bytes) -> None:
        lines = content.split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                self._keep(json.loads(line))
            except (RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"is no reply of a judge ({type(error).__name__}: {error}); the file was "
                    "damaged by something other than a stopped run",
                    path=self.path,
                    line=number,
                ) from None
        self._whole = len(content) - len(lines[-1])

    def _keep(self, line: dict[str, Any]) -> None:
        judge = judge_name(line["model"], line["endpoint"], line["options"])
        key, text, used = line["key"], line["reply"], line["usage"]
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError("'key' and 'reply' must be strings")
        usage = self._usage.get(judge, Usage())
        self._usage[judge] = usage.plus(
            used["prompt_tokens"], used["completion_tokens"], line["attempt"]
        )
        self._replies.setdefault(judge, {})[key] = text
