"""Kinds of errors: one table, and code and documents that are in step with it."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2sharp_core import S2SharpError
from s2sharp_core.errors import Kind

ROOT = Path(__file__).parents[2]


def named() -> Iterator[tuple[str, str]]:
    """Every kind that the code gives to an error or a record as a literal, and where."""
    for folder in ("pipeline", "s2sharp_core"):
        for file in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text())):
                if not isinstance(call, ast.Call):
                    continue
                name = getattr(call.func, "id", getattr(call.func, "attr", ""))
                given = [k.value for k in call.keywords if k.arg == "kind"]
                if name in ("S2SharpError", "_refuse_unknown", "faulty"):
                    given += call.args[:1]
                elif name == "Record":
                    given += call.args[3:4]
                else:
                    continue
                for part in given:
                    value = part.body if isinstance(part, ast.IfExp) else part
                    other = part.orelse if isinstance(part, ast.IfExp) else part
                    for literal in (value, other):
                        if isinstance(literal, ast.Constant):
                            yield str(literal.value), f"{file.relative_to(ROOT)}:{call.lineno}"
                        elif isinstance(literal, ast.Attribute) and literal.attr.isupper():
                            yield Kind[literal.attr], f"{file.relative_to(ROOT)}:{call.lineno}"


def test_every_kind_is_registered_and_every_registered_one_is_used() -> None:
    used = dict(named())
    assert {kind: place for kind, place in used.items() if kind not in set(Kind)} == {}
    assert set(Kind) - set(used) == set()


def test_a_kind_is_called_as_it_is_written() -> None:
    assert list(Kind.__members__) == [kind.upper().replace("-", "_") for kind in Kind]


@pytest.mark.parametrize("page", ["README.md", "deploy/README.md", "pipeline/cli/app.py"])
def test_documents_name_every_exit_code(page: str) -> None:
    text = (ROOT / page).read_text().partition("xit codes:")[2].partition("\n\n")[0]
    codes = {int(code) for code in re.findall(r"\b(\d) [a-z]", text)}
    assert codes == {kind.exit_code for kind in Kind} | {0, 4}


def test_an_unknown_kind_is_refused_and_a_known_one_travels() -> None:
    with pytest.raises(ValueError, match="band-mising"):
        S2SharpError("band-mising", "Text.")
    error = S2SharpError("band-missing", "There is none.", "Give one.", item="a", band="B05")
    again = pickle.loads(pickle.dumps(error))
    assert again.kind is Kind.BAND_MISSING
    assert (again.kind, f"{again.kind}", str(again)) == ("band-missing",) * 2 + (str(error),)
    assert (again.item, again.band) == ("a", "B05")
    assert repr(error) == repr(again)
    assert Kind.STORE_UNWRITABLE.may_pass
    assert not Kind.BAD_CONFIG.may_pass
