"""Asking a judge model behind any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lvlmsal.errors import ConfigError, LvlmsalError, UnsupportedError
from lvlmsal.judges.endpoint import Endpoint
from lvlmsal.judges.reading import SHOWN, Answered, Reader, TooLong
from lvlmsal.metrics.judged import JudgeRequest
from lvlmsal.secrets import hide

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between tries: the first pause, which doubles, and the longest one."""

LONGEST_RETRY_AFTER = 120.0
"""At most this long do we wait because a server asks for it."""

REFUSED = (400, 413, 422)
"""Status codes that speak of one request: its length, its content, a parameter."""


class JudgeFailed(LvlmsalError):
    """The endpoint does not answer, or will not answer anything; the judging stops."""


class RequestRefused(LvlmsalError):
    """The endpoint will not answer this one request, however often it is sent."""


class _Unusable(Exception):
    """What came back is no chat completion."""


@dataclass(frozen=True)
class Reply:
    """What a judge said, and what it took.

    Attributes:
        text: The reply; empty where the endpoint returned no text.
        prompt_tokens: Length of the request, or None where the endpoint does not tell.
        completion_tokens: Length of the reply, likewise.
        seconds: From the first try to the reply, pauses included.
        attempt: How many tries it took.
        model: What the endpoint says has answered.
        finish: Why the reply ends (``stop``, ``length``, ``content_filter``).
    """

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    attempt: int
    model: str
    finish: str


class JudgeClient:
    """Sends requests, again where a failure may pass. Use it with ``async with``.

    Args:
        endpoint: Where to.

    Raises:
        UnsupportedError: The extra ``judge`` is not installed.
        ConfigError: The environment variable of the key is not set.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ImportError:
            raise UnsupportedError(
                "judging needs the package openai: pip install 'lvlmsal[judge]'"
            ) from None
        self._endpoint = endpoint
        self._key = os.environ.get(endpoint.api_key_env, "") if endpoint.api_key_env else "none"
        if not self._key:
            raise ConfigError(
                [
                    f"judge.api_key_env: the environment variable {endpoint.api_key_env} is not "
                    "set: export it, or set judge.api_key_env= (empty) for an endpoint without keys"
                ]
            )
        self._openai = openai
        # our own retries: they are counted, and stop where the budget does
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "gzip, deflate"},
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=endpoint.timeout,
                event_hooks={"response": [Reader(endpoint.max_reply_bytes)]},
            ),
        )

    async def __aenter__(self) -> Self:
        """Nothing to do yet: connections are opened when they are needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.close()

    async def ask(self, request: JudgeRequest, admit: Callable[[], None]) -> Reply:
        """Ask one question.

        Args:
            request: The question.
            admit: Called before every try; what it raises ends the asking.

        Raises:
            RequestRefused: The endpoint will never answer this request.
            JudgeFailed: It answers nothing, or did not after all tries.
        """
        openai, endpoint = self._openai, self._endpoint
        started = time.perf_counter()
        problem = ""
        for attempt in range(1, endpoint.retries + 2):
            admit()
            pause = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)
            try:
                # the client's own limit starts again with every byte that arrives
                async with asyncio.timeout(endpoint.timeout):
                    answered = await self._send(request)
                if answered.status == 200:
                    return self._reply(answered, time.perf_counter() - started, attempt)
                self._refuse(answered)
                problem = self._said(answered)
                pause = max(pause, retry_after(answered.headers.get("retry-after")))
            except TooLong as error:
                raise RequestRefused(f"the reply is not read: {error}") from None
            except (TimeoutError, openai.APITimeoutError):
                problem = f"no reply within {endpoint.timeout:g} seconds"
            except openai.APIConnectionError as error:
                problem = f"the connection failed ({error.__cause__ or error})"
            except _Unusable as error:
                problem = str(error)
            if attempt <= endpoint.retries:
                await asyncio.sleep(pause)
        raise JudgeFailed(
            f"{endpoint.judge}: no reply after {endpoint.retries + 1} tries; the last one: "
            f"{problem}"
        )

    async def _send(self, request: JudgeRequest) -> Answered:
        """Send a request, and what came back.

        Raises:
            TooLong: The reply is longer than allowed.
        """
        fields: dict[str, Any] = {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            **self._endpoint.options,
        }
        # half of a character pair, which a broken decoder may leave, cannot be sent
        messages: Any = [
            {"role": role, "content": text.encode("utf-8", "replace").decode()}
            for role, text in request.messages
        ]
        try:
            await self._client.chat.completions.create(
                model=self._endpoint.model,
                messages=messages,
                extra_body={key: value for key, value in fields.items() if value is not None},
            )
        except (Answered, TooLong) as read:
            return _answered(read)
        except self._openai.APIConnectionError as error:
            # the client library takes whatever a hook raises for a failure of the connection
            if isinstance(error.__cause__, Answered | TooLong):
                return _answered(error.__cause__)
            raise
        raise _Unusable("the client library read the reply past its limit")

    def _reply(self, answered: Answered, seconds: float, attempt: int) -> Reply:
        try:
            content = answered.content()
        except (ValueError, RecursionError) as error:
            raise _Unusable(f"the reply is no JSON ({type(error).__name__}: {error})") from None
        # anything may stand anywhere
        choices = _entry(content, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = _entry(choice, "message")
        text = _entry(message, "content") or ""
        if not isinstance(message, dict) or "content" not in message or not isinstance(text, str):
            raise _Unusable(f"the reply is no chat completion: {str(content)[:80]!r}")
        usage = _entry(content, "usage")
        return Reply(
            text=text,
            prompt_tokens=_whole(_entry(usage, "prompt_tokens")),
            completion_tokens=_whole(_entry(usage, "completion_tokens")),
            seconds=round(seconds, 3),
            attempt=attempt,
            model=str(_entry(content, "model") or ""),
            finish=str(_entry(choice, "finish_reason") or ""),
        )

    def _refuse(self, answered: Answered) -> None:
        """Raise where sending the request again cannot help."""
        status, (_, code) = answered.status, answered.error()
        if status in REFUSED:
            raise RequestRefused(self._said(answered))
        passing = status in (408, 409, 429) or status >= 500
        if not passing or code == "insufficient_quota":
            raise JudgeFailed(f"{self._endpoint.judge}: {self._said(answered)}")

    def _said(self, answered: Answered) -> str:
        """Status and message, without the key, which some servers repeat."""
        message, _ = answered.error()
        if self._endpoint.api_key_env:
            message = message.replace(self._key, "***")
        return f"status {answered.status}: {hide(message)[:SHOWN]}"


def _answered(read: Answered | TooLong) -> Answered:
    if isinstance(read, TooLong):
        raise read
    return read


def _entry(content: Any, key: str) -> Any:
    """What a mapping holds under a key; None where it is none."""
    return content.get(key) if isinstance(content, dict) else None


def _whole(value: object) -> int | None:
    """A number of tokens, if it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def retry_after(value: str | None) -> float:
    """Seconds to wait by a ``Retry-After`` header, a number or a date; 0 where there is none.

    Example:
        >>> retry_after("7"), retry_after("soon"), retry_after(None), retry_after("86400")
        (7.0, 0.0, 0.0, 120.0)
    """
    if value is None:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
