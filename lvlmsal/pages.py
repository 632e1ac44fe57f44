"""HTML pages from templates: what is put in is text, and stays text."""

from __future__ import annotations

import os
import sys
import webbrowser
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lvlmsal.escaping import visible


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: Its path in the package, such as ``comparisons/page.html``.
        values: What it names. Every value is escaped, and what would act without being seen is
            spelled, except for `Markup`.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("lvlmsal", ""),
        autoescape=True,
        finalize=_inert,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _inert(value: Any) -> Any:
    """A value as it is escaped next; line breaks and tabs stay."""
    return value if isinstance(value, Markup) else visible(value, keep="\n\t")


def open_in_browser(page: Path) -> bool:
    """Open a page, where there is a browser with a window of its own.

    Browsers in a terminal are left alone: they would take it over. Nothing happens either where
    this runs on another machine than the one somebody looks at, without a screen.

    Args:
        page: The file.

    Returns:
        Whether a browser was found.
    """
    has_screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    try:
        return has_screen and webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False
