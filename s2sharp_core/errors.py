"""The one exception of the project: what is wrong, with what, and what to do about it."""


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
        super().__init__(kind, message, remedy)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.item = item
        self.band = band

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()
