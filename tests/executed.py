"""Notebooks as they ran, to be committed: ``python -m tests.executed notebooks/NAME.ipynb …``.

Outputs stay as a reader sees them; times, versions of the interpreter and what is this machine's own do not.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

__all__ = ["execute", "own", "texts"]

SECONDS = 600


def execute(path: Path, here: Path) -> nbformat.NotebookNode:
    """Run a notebook in the folder ``here``; an error in any cell is raised with the cell and its traceback."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(here)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=where).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What a cell printed as one output each for stdout and stderr: how often it is flushed is a matter of the moment."""
    kept: list[nbformat.NotebookNode] = []
    for one in outputs:
        same = [
            k for k in kept if k.output_type == "stream" == one.output_type and k.name == one.name
        ]
        if same:
            same[0].text += one.text
        else:
            kept.append(one)
    return kept


def own(text: str) -> list[str]:
    """Return what a text tells of the machine that it was made on."""
    found = re.findall(r"/(?:tmp|root|home|work|Users|var/folders)/[^\s'\"<>]*", text)
    return found + [name for name in (os.uname().nodename,) if len(name) > 3 and name in text]


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each code cell says in words: numbers, which another machine may round or time otherwise, as ``#``; lines
    in the order of the alphabet, since workers end when they end.
    """
    said = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            words = "".join(o.text for o in cell.outputs if o.output_type == "stream")
            lines = re.sub(r"\d[\d.,e+-]*", "#", words).splitlines()
            said.append("\n".join(sorted(lines)))
    return said


def main(paths: list[str]) -> None:
    for name in paths:
        with (
            tempfile.TemporaryDirectory() as here,
            tempfile.TemporaryDirectory(prefix="s") as scratch,
        ):
            os.environ["TMPDIR"] = scratch
            notebook = execute(Path(name), Path(here))
        told = sorted(set(own(nbformat.writes(notebook))))
        notebook.metadata = {
            k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")
        }
        notebook.metadata.get("language_info", {}).pop("version", None)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, name)
        print(name, *(told or ["tells nothing of this machine"]), sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
