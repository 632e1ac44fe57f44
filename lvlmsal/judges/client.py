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
from lvlmsal.metrics.judged import JudgeRequest

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between tries: the first pause, which doubles, and the longest one."""

LONGEST_RETRY_AFTER = 120.0
"""At most so long do we wait because a server asks for it."""

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
                # the client's own limit starts anew with every byte that arrives
                async with asyncio.timeout(endpoint.timeout):
                    return self._reply(
                        await self._create(request), time.perf_counter() - started, attempt
                    )
            except (TimeoutError, openai.APITimeoutError):
                problem = f"no reply within {endpoint.timeout:g} seconds"
            except openai.APIConnectionError as error:
                problem = f"the connection failed ({error.__cause__ or error})"
            except openai.APIStatusError as error:
                self._refuse(error)
                problem = self._said(error)
                pause = max(pause, retry_after(error.response.headers.get("retry-after")))
            except _Unusable as error:
                problem = str(error)
            if attempt <= endpoint.retries:
                await asyncio.sleep(pause)
        raise JudgeFailed(
            f"{endpoint.judge}: no reply after {endpoint.retries + 1} tries; the last one: "
            f"{problem}"
        )

    async def _create(self, request: JudgeRequest) -> Any:
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
            return await self._client.chat.completions.create(
                model=self._endpoint.model,
                messages=messages,
                extra_body={key: value for key, value in fields.items() if value is not None},
            )
        except ValueError as error:
            raise _Unusable(f"the reply is no JSON ({error})") from None

    def _reply(self, response: Any, seconds: float, attempt: int) -> Reply:
        # the client library checks no types, so anything may stand anywhere
        choices = getattr(response, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = getattr(choice, "message", None)
        text = getattr(message, "content", None) or ""
        if not hasattr(message, "content") or not isinstance(text, str):
            raise _Unusable(f"the reply is no chat completion: {str(response)[:80]!r}")
        usage = getattr(response, "usage", None)
        return Reply(
            text=text,
            prompt_tokens=_whole(getattr(usage, "prompt_tokens", None)),
            completion_tokens=_whole(getattr(usage, "completion_tokens", None)),
            seconds=round(seconds, 3),
            attempt=attempt,
            model=str(getattr(response, "model", None) or ""),
            finish=str(getattr(choice, "finish_reason", None) or ""),
        )

    def _refuse(self, error: Any) -> None:
        """Raise where sending the request again cannot help."""
        code = error.status_code
        if code in REFUSED:
            raise RequestRefused(self._said(error))
        passing = code in (408, 409, 429) or code >= 500
        if not passing or error.code == "insufficient_quota":
            raise JudgeFailed(f"{self._endpoint.judge}: {self._said(error)}")

    def _said(self, error: Any) -> str:
        """Status and message, without the key, which some servers repeat."""
        return f"status {error.status_code}: {error.message.replace(self._key, '***')[:300]}"


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
