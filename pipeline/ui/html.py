"""One HTML file that holds all it shows: nothing is fetched, whoever opens it, and nothing else may run in it."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from s2sharp_core.errors import printable

__all__ = ["asset", "data_uri", "document", "table"]


def asset(package: str, name: str) -> str:
    """A style or script that lies beside the code of ``package``."""
    return (files(package) / name).read_text()


def document(
    title: str, body: Iterable[str], style: str = "", script: str = "", *, reads: str = ""
) -> str:
    """A page with the common style, and its own.

    Only these styles and this script run, by their digests, and pictures inside the page are shown: text that came from a
    catalogue does nothing, even if it were not escaped.

    Parameters
    ----------
    body
        HTML, escaped by who made it.
    reads
        What may be fetched, as a source of a content security policy; by default nothing.
    """
    looks = asset("s2sharp.ui", "page.css") + style
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_digest(looks)}; "
    )
    policy += f"img-src data: {reads}; connect-src {reads}"
    if script:
        policy += f"; script-src {_digest(script)}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title><style>{looks}</style></head><body>",
        *body,
        f"<script>{script}</script>" if script else "",
        "</body></html>\n",
    ]
    page = "\n".join(parts)
    return printable(page, keep="\n\t", most=len(page))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_uri(png: bytes) -> str:
    """A PNG as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = ""
) -> str:
    """A table that scrolls by itself where it is too wide; its cells are HTML.

    Parameters
    ----------
    kind
        Classes of the element: ``text`` for columns of words, ``long`` to scroll upwards, too.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide {kind}" tabindex="0"><table>{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
