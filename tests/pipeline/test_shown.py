"""What a catalog's author writes is shown, and never obeyed: by terminals, logs and pages."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from s2sharp.ui.html import document
from s2sharp.ui.terminal import Screen

from s2sharp_core import S2SharpError
from s2sharp_core.errors import MAX_SHOWN, printable

HOSTILE = "x\x1b]0;owned\x1b\\\x1b[2J\x9b2J\r\x07\u202egnp\ud800\u2028y"


def harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


def test_controls_are_spelled_out() -> None:
    assert printable(HOSTILE) == (r"x\x1b]0;owned\x1b\\x1b[2J\x9b2J\r\x07\u202egnp\ud800\u2028y")
    assert printable("Größe 日本 🛰 × σ –") == "Größe 日本 🛰 × σ –"
    assert len(printable("a" * 10_000_000)) == MAX_SHOWN + 1


def test_an_error_repeats_no_controls() -> None:
    error = S2SharpError("item-broken", f"Item {HOSTILE} is broken.", f"Leave {HOSTILE} out.")
    assert harmless(str(error) + repr(error) + error.message + error.remedy)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_screen_sends_no_controls_but_its_own(terminal: bool) -> None:
    file = io.StringIO()
    screen = Screen(file=file, force_terminal=terminal, color_system=None, width=200)
    screen.print(f"[red]left out:[/] {HOSTILE}\nnext")
    screen.print(HOSTILE, markup=False)
    assert harmless(file.getvalue())
    assert "left out:" in file.getvalue()
    assert "\nnext\n" in file.getvalue()


def test_colours_are_still_a_screens_own() -> None:
    file = io.StringIO()
    Screen(file=file, force_terminal=True, color_system="standard").print("[red]a[/]")
    assert file.getvalue() == "\x1b[31ma\x1b[0m\n"


def test_a_page_holds_no_controls() -> None:
    page = document("s2sharp.view/view.html.j2", "p {}\n", "let a;\n", title=HOSTILE, report=True)
    assert harmless(page)
    assert "p {}\n" in page


def test_a_plan_sends_none_to_the_terminal(tmp_path: Path) -> None:
    links = [{"rel": "item", "href": f"./{HOSTILE[:-2]}.json"}]
    about = {"type": "Collection", "id": "c", "extent": {}, "links": links}
    (tmp_path / "collection.json").write_text(json.dumps(about))
    command = [sys.executable, "-m", "s2sharp.cli.app", "plan", "--catalog", str(tmp_path)]
    command += ["--collection", "c", "--bbox", *["16", "48", "17", "49"], "--datetime", "2024"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True)
    said = (done.stdout + done.stderr).decode()
    assert "it is left out" in said
    assert harmless(said)
