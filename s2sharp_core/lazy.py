"""Public names of packages, loaded at first access, and functions loaded at their first call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from sys import modules
from typing import Any


def face(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__`` and ``__dir__`` (PEP 562) of a package, and its ``__all__``.

    Parameters
    ----------
    package
        Its ``__name__``.
    names
        Module → the names that it provides. A module outside the package has its full name after a colon
        (``":s2sharp_core"``).
    """
    where = {name: module for module, some in names.items() for name in some}

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = where[name]
        whole = module[1:] if module.startswith(":") else f"{package}.{module}"
        value = getattr(import_module(whole), name)
        setattr(modules[package], name, value)
        return value

    return get, lambda: list(modules[package].__all__), sorted(where)


@dataclass(frozen=True)
class LazyFunction:
    """A function by its name. Its module is loaded where it is called, so a process that only sends it need not load
    it.
    """

    module: str
    name: str

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *given: Any, **named: Any) -> Any:
        return getattr(import_module(self.module), self.name)(*given, **named)
