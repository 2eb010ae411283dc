"""The one exception of the project: what is wrong, with what, and what to do about it; and text that may be shown."""

import re

__all__ = ["S2SharpError", "printable"]

MAX_SHOWN = 4000
"""Characters of one text that is shown."""

# Controls of terminals (C0, DEL, C1), marks that turn the direction of what follows, line separators and halves of
# characters, which no encoding holds.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str, keep: str = "", most: int = MAX_SHOWN) -> str:
    """Text from anywhere as it may be shown: what a terminal, a log or a page would obey is spelled out, as Python does.

    Parameters
    ----------
    keep
        Controls that may stay, such as line feeds.
    most
        Characters; what is longer is cut, and ends in "…".
    """
    if len(text) > most:
        text = text[:most] + "…"
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


class S2SharpError(Exception):
    """An error a user can act on.

    Parameters
    ----------
    kind
        A stable, machine-readable name such as ``"band-missing"``; it ends up in ledgers and logs.
    message
        Names the thing, what was expected and what was found.
    remedy
        What to do about it, in one sentence.
    item, band
        What is to blame, where it is one item or band: for ledgers and logs, the message names it anyway.
    """

    def __init__(
        self, kind: str, message: str, remedy: str = "", *, item: str = "", band: str = ""
    ) -> None:
        # What is named may come from a catalogue.
        message, remedy = printable(message), printable(remedy)
        super().__init__(kind, message, remedy)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.item = item
        self.band = band

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()
