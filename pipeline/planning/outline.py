"""Outline of a method: the facts that a plan needs."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outline:
    """Outline of a sharpener, before anything is fitted or measured.

    ``reads``: bands; ``margin``: cells around a block that its result can depend on; ``digest``: of everything that
    determines it; ``weights``, and ``start`` for those that fits start from: file → sha256; ``precision``: its arithmetic
    and device.
    """

    reads: tuple[str, ...] = ()
    margin: int = 0
    digest: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    start: dict[str, str] = field(default_factory=dict)
    precision: str = ""
