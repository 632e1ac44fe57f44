"""A judge model, how it is reached, and its name in stores and results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A judge model and how it is reached.

    Attributes:
        model: What the endpoint calls it.
        base_url: Address up to ``/v1``.
        api_key_env: Name of the environment variable that holds the key; empty for an endpoint
            that asks for none. The key itself is never written anywhere.
        concurrency: How many requests are under way at once.
        timeout: Seconds that one try may take.
        retries: How often a request is sent again after a failure that may pass.
        max_reply_bytes: A longer reply is not read, and counts as refused.
        options: Further fields of every request, such as ``seed`` or ``reasoning_effort``. They
            stand above what the metric asks for; None takes a field out (``max_tokens``).
        shown: What files and messages have in place of `model`, `base_url` and `options`, by these
            names, where their values come from the environment.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 5
    max_reply_bytes: int = 1_000_000
    options: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judge(self) -> str:
        """What tells judges apart: replies of one are never taken for those of another."""
        return judge_name(**self.written)

    @property
    def written(self) -> dict[str, Any]:
        """Model, address and options as files have them."""
        own = {"model": self.model, "base_url": self.base_url, "options": dict(self.options)}
        return {key: self.shown.get(key, value) for key, value in own.items()}

    def problems(self) -> list[str]:
        """Everything that is wrong with the settings, without touching the network."""
        found = []
        address = urlsplit(self.base_url)
        if not self.model.strip():
            found.append("model: must not be empty")
        if address.scheme not in ("http", "https") or not address.netloc:
            found.append(
                f"base_url: expected an address such as https://host/v1, got {self.base_url!r}"
            )
        elif address.username or address.password or address.query:
            # not shown: it may hold a key
            found.append(
                "base_url: must hold neither a user, a password nor a query, because it is written "
                "into the run folder; a key belongs into the variable that api_key_env names"
            )
        if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", self.api_key_env):
            found.append(
                "api_key_env: expected the name of an environment variable, such as "
                "OPENAI_API_KEY; what is there is no such name (it is not shown, in case it is "
                "the key itself)"
            )
        for name, value, lowest in (
            ("concurrency", self.concurrency, 1),
            ("retries", self.retries, 0),
            ("max_reply_bytes", self.max_reply_bytes, 1000),
        ):
            if value < lowest:
                found.append(f"{name}: must be at least {lowest}, got {value}")
        if self.timeout <= 0:
            found.append(f"timeout: must be above 0 seconds, got {self.timeout}")
        fixed = sorted({"model", "messages", "stream", "n"} & set(self.options))
        if fixed:
            found.append(f"options: {', '.join(fixed)} cannot be set here")
        return found


def judge_name(model: str, base_url: str, options: Mapping[str, Any]) -> str:
    """Model, address and options in one line.

    Example:
        >>> judge_name("gpt-4-0613", "https://api.openai.com/v1/", {"seed": 1})
        'gpt-4-0613 at https://api.openai.com/v1 with {"seed": 1}'
    """
    added = f" with {json.dumps(dict(options), sort_keys=True)}" if options else ""
    return f"{model} at {base_url.rstrip('/')}{added}"
