"""What lies beside the pages in the repository, and belongs to the site: README, deploy/, notebooks, model cards.

On GitHub and on the site a link has to lead from where its page lies; the one is rewritten into the other. A notebook that
`make notebooks` has run since it was changed is a page that shows what it gave; others are there to be downloaded.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SINGLE = ("CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE")
FOLDERS = ("deploy", "notebooks")
RAN = ROOT / "build" / "notebooks"
STYLE = "<style>.input_area, .output_subarea { overflow-x: auto }</style>"


class Notebook(File):
    """A notebook that is a page."""

    def is_documentation_page(self) -> bool:
        return True


def _outside() -> dict[str, str]:
    """Path in the repository → path on the site."""
    found = [ROOT / name for name in SINGLE]
    found += [f for folder in FOLDERS for f in (ROOT / folder).rglob("*") if f.is_file()]
    found += (ROOT / "s2sharp_core" / "weights").glob("*.md")
    names = [f.relative_to(ROOT).as_posix() for f in found if not set(f.parts) & {"__pycache__"}]
    return {"README.md": "index.md"} | {name: name for name in sorted(names)}


def on_files(files: Files, config: Any) -> Files:
    for here, there in _outside().items():
        kind = Notebook if _ran(here) else File
        files.append(kind.generated(config, there, abs_src_path=str(ROOT / here)))
    return files


def _ran(here: str) -> Path | None:
    """What a notebook gave, if that is there and not older than it."""
    file = RAN / f"{Path(here).stem}.html"
    new = file.exists() and file.stat().st_mtime >= (ROOT / here).stat().st_mtime
    return file if here.endswith(".ipynb") and new else None


def on_page_read_source(page: Any, **_: Any) -> str | None:
    """Of a notebook, its title: what it shows is HTML already."""
    if not isinstance(page.file, Notebook):
        return None
    cells = json.loads(Path(page.file.abs_src_path).read_text())["cells"]
    return "".join(cells[0]["source"]).split("\n")[0]


def on_page_content(html: str, page: Any, **_: Any) -> str:
    ran = _ran(page.file.src_uri) if isinstance(page.file, Notebook) else None
    return STYLE + ran.read_text() if ran else html


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    outside = _outside()
    there = page.file.src_uri
    here = next((own for own, site in outside.items() if site == there), f"docs/{there}")

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        on_site = outside.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(on_site, posixpath.dirname(there) or '.')}{link[2] or ''})"

    return re.sub(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)", led, markdown)
