"""A package gives what its face names, and nothing else of it is used outside."""

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {"pipeline": "s2sharp", "s2sharp_core": "s2sharp_core"}
# Methods are written with these, and nobody else needs them.
INNER = {"s2sharp_core.networks.regression", "s2sharp_core.learning.unsupervised"}


def modules() -> Iterator[tuple[str, Path]]:
    for folder, name in ROOTS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([name, *(p for p in parts if p != "__init__")]), file


FILES = dict(modules())
PACKAGES = [name for name, file in FILES.items() if file.name == "__init__.py"]


def imports(name: str, file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of all that a file imports of this project's."""
    own = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = own.split(".")[: own.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if module in FILES:
                yield from ((module, alias.name) for alias in node.names)


@cache
def defines(module: str) -> set[str]:
    """Names that a module binds itself, at any depth; of a package, what it has."""
    if FILES[module].name == "__init__.py":
        parts = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == module}
        return {*dir(import_module(module)), *parts}
    tree = ast.parse(FILES[module].read_text())
    names = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return names | {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def used_outside() -> dict[str, set[str]]:
    """Package → what modules of other packages import of its modules."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, file in FILES.items():
        for module, wanted in imports(name, file):
            package = module.rpartition(".")[0]
            outside = package.count(".") == 1 and not name.startswith(package)
            # A module of that name would hide it.
            if outside and module not in INNER and f"{package}.{wanted}" not in FILES:
                found[package].add(wanted)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_what_its_face_names(package: str) -> None:
    face = import_module(package)
    for name in getattr(face, "__all__", ()):
        assert f"{package}.{name}" not in FILES
        assert getattr(face, name) is not None
        assert name in dir(face)
    with pytest.raises(AttributeError):
        face.nothing_of_this_name  # noqa: B018


@pytest.mark.parametrize(("package", "names"), sorted(used_outside().items()))
def test_others_use_of_a_package_what_its_face_names(package: str, names: set[str]) -> None:
    assert names <= set(import_module(package).__all__)


def test_a_name_is_imported_from_the_module_that_defines_it() -> None:
    places = [*FILES.items(), *(("tests", file) for file in (ROOT / "tests").rglob("*.py"))]
    wrong = [
        (file, module, wanted)
        for name, file in places
        for module, wanted in imports(name, file)
        if wanted not in defines(module)
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_for(package: str) -> None:
    said = (import_module(package).__doc__ or "").strip().splitlines()
    assert said[0].endswith(".")
    if package.count(".") == 1 and getattr(import_module(package), "__all__", ()):
        assert "May import" in said[2]


def test_the_design_page_has_a_line_for_every_package() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    for package in PACKAGES:
        if package.count(".") == 1:
            first = (import_module(package).__doc__ or "").splitlines()[0]
            assert f"{package.partition('.')[2]}/ " in page
            assert first in page


def test_the_wheel_holds_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert sorted(settings["packages"]) == sorted(PACKAGES)
