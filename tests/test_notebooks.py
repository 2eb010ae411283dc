"""The notebooks run from top to bottom as they are committed, offline, and show pictures.

As they ran they are left in build/notebooks, as HTML, for the site (docs/outside.py).
"""

import json
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from tests.executed import SECONDS, execute, own, texts

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
MOST, ALL = 1.8e6, 8e6
"""Bytes of a notebook with its pictures, and of all."""

notebooks = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert list(FOLDER.glob("*.ipynb"))


@notebooks
def test_a_committed_notebook_is_clean(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    # As it ran, from top to bottom: `python -m tests.executed NOTEBOOK` writes it.
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert path.stat().st_size <= MOST
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= ALL
    told = json.dumps([cell.outputs for cell in code_cells(notebook)])
    assert not own(told), "an output tells of the machine that it ran on"
    assert notebook.metadata.kernelspec.name == "python3"
    # Editors leave the machine's paths and versions behind.
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert str(Path.home()) not in json.dumps(notebook)


@notebooks
@pytest.mark.timeout(SECONDS)
def test_a_notebook_runs_and_shows_pictures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    committed, notebook = nbformat.read(path, as_version=4), execute(path, here)
    assert texts(notebook) == texts(committed), "run it anew: `python -m tests.executed`"
    kinds = [
        [[sorted(o.get("data", {})) for o in cell.outputs] for cell in code_cells(one)]
        for one in (notebook, committed)
    ]
    assert kinds[0] == kinds[1]
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    warned = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert not warned, "a reader should see no warnings"
    assert not list(here.iterdir()), "a notebook leaves nothing where it is run"
    assert not list(scratch.glob("s2sharp*")), "nor in the folder for temporary files"
    keep(notebook, ROOT / "build" / "notebooks" / f"{path.stem}.html")


def keep(notebook: nbformat.NotebookNode, file: Path) -> None:
    """What belongs into a page's body, pictures included: no scripts, and nothing from elsewhere."""
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body)
