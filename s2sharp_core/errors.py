"""The one exception of the project: the fault, its subject and the remedy; and text that may be shown.

Every error is an :class:`S2SharpError` of one :class:`Kind`.
"""

import re
from enum import StrEnum

# Exit codes of the command line; 4 is a run with failed units.
_ERROR, _CONFIG, _NOTHING, _BUSY = 1, 2, 3, 5
_MAY_PASS = True


class Kind(StrEnum):
    """A kind of error: a stable name for programs, ledgers and logs. Names may be added, but never changed.

    Attributes
    ----------
    exit_code
        Exit code of a command that ends with this error.
    may_pass
        Whether the same work may succeed a little later: after a busy store, archive or signing server, or a lost
        worker.
    """

    exit_code: int
    may_pass: bool

    def __new__(cls, name: str, exit_code: int = _ERROR, may_pass: bool = False) -> "Kind":
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.exit_code, kind.may_pass = exit_code, may_pass
        return kind

    # The request.
    BAD_CONFIG = "bad-config", _CONFIG
    METHOD_UNKNOWN = "method-unknown", _CONFIG
    BAND_UNKNOWN = "band-unknown", _CONFIG
    UNIT_UNKNOWN = "unit-unknown"
    EPSG_MISSING = "epsg-missing"
    OUTSIDE = "outside"
    VERY_LARGE = "very-large", _CONFIG
    MEMORY_EXCEEDED = "memory-exceeded"
    NOTHING_FOUND = "nothing-found", _NOTHING
    NOTHING_JUDGED = "nothing-judged"
    NOTHING_PUBLISHED = "nothing-published"
    NOTHING_TO_FIT = "nothing-to-fit"
    NOTHING_TO_SHOW = "nothing-to-show"
    TOO_MANY_ACQUISITIONS = "too-many-acquisitions"
    TOO_MANY_ITEMS = "too-many-items"
    SIGN_UNSUITABLE = "sign-unsuitable"
    CRS_UNSUITABLE = "crs-unsuitable"
    # The catalog and its items.
    CATALOG_UNREACHABLE = "catalog-unreachable"
    COLLECTION_MISSING = "collection-missing"
    ITEM_BROKEN = "item-broken"
    BAND_MISSING = "band-missing"
    CRS_UNKNOWN = "crs-unknown"
    OFF_LATTICE = "off-lattice"
    OFFSET_UNKNOWN = "offset-unknown"
    RADIOMETRY_IMPLAUSIBLE = "radiometry-implausible"
    HREF_REFUSED = "href-refused"
    # The files of the archive.
    ASSET_MOVED = "asset-moved"
    ASSET_UNREADABLE = "asset-unreadable", _ERROR, _MAY_PASS
    KEYS_MISSING = "keys-missing"
    METADATA_CONTRADICTS_FILE = "metadata-contradicts-file"
    OFFSET_DOUBTFUL = "offset-doubtful"
    SIGNING_FAILED = "signing-failed", _ERROR, _MAY_PASS
    # Scenes and methods.
    SCENE_MALFORMED = "scene-malformed"
    SCENE_TOO_SMALL = "scene-too-small"
    NO_DATA = "no-data"
    CONTEXT_MISSING = "context-missing"
    FIT_FAILED = "fit-failed"
    NOT_FITTED = "not-fitted"
    NOT_MEASURED = "not-measured"
    NOT_CALIBRATED = "not-calibrated"
    SAMPLE_CHANGED = "sample-changed"
    CALIBRATION_FAILED = "calibration-failed"
    WEIGHTS_CORRUPT = "weights-corrupt"
    WEIGHTS_DIFFER = "weights-differ"
    WEIGHTS_MISSING = "weights-missing"
    # The folder of a run.
    NOT_A_RUN = "not-a-run"
    NOT_A_CUBE = "not-a-cube"
    NOT_A_MOSAIC = "not-a-mosaic"
    OTHER_RUN = "other-run", _CONFIG
    CANNOT_EXTEND = "cannot-extend"
    NO_HISTORY = "no-history"
    SNAPSHOT_MISSING = "snapshot-missing"
    PARTIAL_SHARD = "partial-shard"
    NOT_SEEN_YET = "not-seen-yet"
    STAGE_MISSING = "stage-missing", _ERROR, _MAY_PASS
    STORE_UNWRITABLE = "store-unwritable", _ERROR, _MAY_PASS
    FILE_BROKEN = "file-broken"
    SHARD_BROKEN = "shard-broken"
    # The workers.
    BUSY = "busy", _BUSY
    LEASE_LOST = "lease-lost", _BUSY
    RUN_STOPPED = "run-stopped"
    JOBS_LOST = "jobs-lost"
    JOBS_REFUSED = "jobs-refused"
    SCHEDULER_INSECURE = "scheduler-insecure"
    SCHEDULER_UNREACHABLE = "scheduler-unreachable"
    WORKER_ERROR = "worker-error", _ERROR, _MAY_PASS
    WORKERS_LOST = "workers-lost"


MAX_SHOWN = 4000
"""Largest number of characters of a shown text."""

# Controls of terminals (C0, DEL, C1), marks that change the text direction, line separators, and surrogates, which no
# encoding holds.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str, keep: str = "", most: int = MAX_SHOWN) -> str:
    """Make text from any source safe to show: control characters for a terminal, log or page are spelled out, as in Python.

    Parameters
    ----------
    keep
        Control characters to leave as they are, such as line feeds.
    most
        Largest number of characters; longer text is cut and ends in "…".
    """
    if len(text) > most:
        text = text[:most] + "…"
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


class S2SharpError(Exception):
    """An error that a user can act on.

    Parameters
    ----------
    kind
        A :class:`Kind`, or its name such as ``"band-missing"``; an unknown name raises ``ValueError``.
    message
        Names the thing, what was expected and what was found.
    remedy
        The remedy, in one sentence.
    item, band
        The item or band at fault, if there is one: for ledgers and logs. The message names it, too.
    """

    def __init__(
        self, kind: Kind | str, message: str, remedy: str = "", *, item: str = "", band: str = ""
    ) -> None:
        # The name may come from a catalog.
        message, remedy = printable(message), printable(remedy)
        super().__init__(str(kind), message, remedy)
        self.kind = Kind(kind)
        self.message = message
        self.remedy = remedy
        self.item = item
        self.band = band

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()
