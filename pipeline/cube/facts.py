"""Attributes in types that netCDF can hold, too."""

import json
from collections.abc import Iterable
from numbers import Number
from typing import Any

import numpy as np


class Facts(str):
    """A JSON object as text, since netCDF attributes hold no objects; ``facts["area"]`` reads a value.

    A slice or a number indexes the text.
    """

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return json.loads(self)[key] if isinstance(key, str) else super().__getitem__(key)

    def keys(self) -> Iterable[str]:
        """Names of the facts: ``dict(facts)`` is all of them."""
        return list(json.loads(self))


def plain(value: Any) -> Any:
    """Return an attribute as netCDF takes it: text, a number, or a list of either; others as :class:`Facts` or JSON text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Number | np.ndarray | np.generic):
        return value
    if isinstance(value, list | tuple):
        kinds = {isinstance(v, str) for v in value if isinstance(v, str | Number)}
        if len(kinds) == 1 and all(isinstance(v, str | Number) for v in value):
            return value
    text = json.dumps(value)
    return Facts(text) if isinstance(value, dict) else text
