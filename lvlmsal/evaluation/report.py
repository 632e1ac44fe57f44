"""One static page about a run; everything that comes from data or models is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from lvlmsal.evaluation.paper import paper_markdown
from lvlmsal.evaluation.table import markdown_tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
pre { background: #f4f4f4; overflow-x: auto; padding: 1rem }
"""


def report_page(
    results: Mapping[str, Any], config: Mapping[str, Any], environment: Mapping[str, Any]
) -> str:
    """The tables, the settings and the versions of a run as one HTML page.

    Args:
        results: The content of ``results.json``.
        config: The resolved config.
        environment: The content of ``environment.json``.
    """
    packages = {"python": environment["python"], **environment["packages"]}
    listed = "".join(
        f"<li>{html.escape(name)} {html.escape(str(number))}</li>"
        for name, number in packages.items()
    )
    settings = html.escape(OmegaConf.to_yaml(OmegaConf.create(dict(config))))
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>lvlmsal run</title><style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>Results</h1>\n{_tables(markdown_tables(results) + paper_markdown(results))}\n"
        f"<h2>Settings</h2>\n<pre>{settings}</pre>\n"
        f"<h2>Made with</h2>\n<p>{html.escape(environment['platform'])}</p><ul>{listed}</ul>\n"
        "</body></html>\n"
    )


def _tables(markdown: str) -> str:
    """HTML of the Markdown that `markdown_tables` writes (headings, tables, lines of text)."""
    parts: list[str] = []
    rows: list[str] = []
    for line in [*markdown.split("\n"), ""]:
        if line.startswith("|"):
            # the Markdown has < and > escaped already; unescape first, so as not to do it twice
            cells = html.unescape(line.strip("| ").replace("\\|", "\0")).split(" | ")
            if set(line) > set("|- :"):
                tag = "td" if rows else "th"
                texts = (html.escape(c.strip().replace("\0", "|")) for c in cells)
                rows.append("<tr>" + "".join(f"<{tag}>{t}</{tag}>" for t in texts) + "</tr>")
            continue
        if rows:
            parts.append("<table>" + "\n".join(rows) + "</table>")
            rows = []
        text = html.escape(html.unescape(line.lstrip("# ")))
        if text:
            parts.append(f"<h2>{text}</h2>" if line.startswith("#") else f"<p>{text}</p>")
    return "\n".join(parts)
