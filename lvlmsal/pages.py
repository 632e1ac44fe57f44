"""HTML pages from templates: what is put in is text, and stays text."""

from __future__ import annotations

from functools import cache
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
