"""Self-contained HTML files: nothing is fetched when one is opened, and no foreign code can run in it.

Pages are Jinja templates, ``*.html.j2`` beside the code of their package; their values are escaped.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from s2sharp_core.errors import printable

from .terminal import duration_text, size_text


def asset(package: str, name: str) -> str:
    """Return a style or script that lies beside the code of ``package``."""
    return (files(package) / name).read_text()


def document(
    template: str, style: str = "", script: str = "", *, reads: str = "", **facts: Any
) -> str:
    """Return a page with the common style, and its own.

    Only these styles and this script run, identified by digest, and only pictures inside the page are shown. So text
    from a catalog can do nothing, even if it were not escaped.

    ``template``: ``PACKAGE/NAME``; it extends ``s2sharp.ui/page.html.j2``. ``reads``: allowed targets of fetches, as a
    source of a content security policy. ``facts``: variables of the template, with ``title``; a missing one is an error.
    """
    style = asset("s2sharp.ui", "page.css") + style
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_digest(style)}; "
        f"img-src data: {reads}; connect-src {reads}"
    )
    if script:
        policy += f"; script-src {_digest(script)}"
    template_ = _templates.get_template(template)
    page = template_.render(policy=policy, style=style, script=script, **facts)
    return printable(page, keep="\n\t", most=len(page))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_uri(png: bytes) -> str:
    """Return a PNG as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def plural(count: int, what: str) -> str:
    """Format a count with its noun, for example "2 passes"."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what}{'es' if what.endswith('s') else 's'}"


_templates = Environment(
    loader=FunctionLoader(lambda name: asset(*name.split("/"))),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_templates.filters |= {
    "duration": duration_text,
    "plural": plural,
    "size": size_text,
    "uri": data_uri,
}
