"""Public names of packages, loaded when they are first asked for, and functions loaded when they are first called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from sys import modules
from typing import Any

__all__ = ["Later", "face"]


def face(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__`` and ``__dir__`` (PEP 562) of a package, and its ``__all__``.

    Parameters
    ----------
    package
        Its ``__name__``.
    names
        Module of the package, or another one by its whole name after a colon (``":s2sharp_core"``) → the names that it
        gives.
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
class Later:
    """A function by its name, whose module is loaded where and when it is called: who sends it elsewhere need not."""

    module: str
    name: str

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *given: Any, **named: Any) -> Any:
        return getattr(import_module(self.module), self.name)(*given, **named)
