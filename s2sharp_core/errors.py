"""The one exception of the project: the fault, its subject and the remedy; and text that may be shown.

Every error is an :class:`S2SharpError` of one :class:`Kind`. The kinds, by subject:

- the request: bad-config, method-unknown, band-unknown, unit-unknown, epsg-missing, outside, very-large,
  memory-exceeded, nothing-found, nothing-judged, nothing-published, nothing-to-fit, nothing-to-show, too-many-acquisitions,
  too-many-items, sign-unsuitable, crs-unsuitable
- the catalog and its items: catalog-unreachable, collection-missing, item-broken, band-missing, crs-unknown,
  off-lattice, offset-unknown, radiometry-implausible, href-refused
- the files of the archive: asset-moved, asset-unreadable, keys-missing, metadata-contradicts-file, offset-doubtful,
  signing-failed
- scenes and methods: scene-malformed, scene-too-small, no-data, context-missing, fit-failed, not-fitted, not-measured,
  not-calibrated, sample-changed, calibration-failed, weights-corrupt, weights-differ, weights-missing
- the folder of a run: not-a-run, not-a-cube, not-a-mosaic, other-run, cannot-extend, no-history, snapshot-missing, partial-shard,
  not-seen-yet, stage-missing, store-unwritable, file-broken, shard-broken
- the workers: busy, lease-lost, run-stopped, jobs-lost, jobs-refused, scheduler-insecure, scheduler-unreachable,
  worker-error, workers-lost
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

    ASSET_MOVED = "asset-moved"
    ASSET_UNREADABLE = "asset-unreadable", _ERROR, _MAY_PASS
    BAD_CONFIG = "bad-config", _CONFIG
    BAND_MISSING = "band-missing"
    BAND_UNKNOWN = "band-unknown", _CONFIG
    BUSY = "busy", _BUSY
    CALIBRATION_FAILED = "calibration-failed"
    CANNOT_EXTEND = "cannot-extend"
    CATALOG_UNREACHABLE = "catalog-unreachable"
    COLLECTION_MISSING = "collection-missing"
    CONTEXT_MISSING = "context-missing"
    CRS_UNKNOWN = "crs-unknown"
    CRS_UNSUITABLE = "crs-unsuitable"
    EPSG_MISSING = "epsg-missing"
    FILE_BROKEN = "file-broken"
    FIT_FAILED = "fit-failed"
    HREF_REFUSED = "href-refused"
    ITEM_BROKEN = "item-broken"
    JOBS_LOST = "jobs-lost"
    JOBS_REFUSED = "jobs-refused"
    KEYS_MISSING = "keys-missing"
    LEASE_LOST = "lease-lost", _BUSY
    MEMORY_EXCEEDED = "memory-exceeded"
    METADATA_CONTRADICTS_FILE = "metadata-contradicts-file"
    METHOD_UNKNOWN = "method-unknown", _CONFIG
    NO_DATA = "no-data"
    NO_HISTORY = "no-history"
    NOT_A_CUBE = "not-a-cube"
    NOT_A_MOSAIC = "not-a-mosaic"
    NOT_A_RUN = "not-a-run"
    NOT_CALIBRATED = "not-calibrated"
    NOT_FITTED = "not-fitted"
    NOT_MEASURED = "not-measured"
    NOT_SEEN_YET = "not-seen-yet"
    NOTHING_FOUND = "nothing-found", _NOTHING
    NOTHING_JUDGED = "nothing-judged"
    NOTHING_PUBLISHED = "nothing-published"
    NOTHING_TO_FIT = "nothing-to-fit"
    NOTHING_TO_SHOW = "nothing-to-show"
    OFF_LATTICE = "off-lattice"
    OFFSET_DOUBTFUL = "offset-doubtful"
    OFFSET_UNKNOWN = "offset-unknown"
    OTHER_RUN = "other-run", _CONFIG
    OUTSIDE = "outside"
    PARTIAL_SHARD = "partial-shard"
    RADIOMETRY_IMPLAUSIBLE = "radiometry-implausible"
    RUN_STOPPED = "run-stopped"
    SAMPLE_CHANGED = "sample-changed"
    SCENE_MALFORMED = "scene-malformed"
    SCENE_TOO_SMALL = "scene-too-small"
    SCHEDULER_INSECURE = "scheduler-insecure"
    SCHEDULER_UNREACHABLE = "scheduler-unreachable"
    SHARD_BROKEN = "shard-broken"
    SIGN_UNSUITABLE = "sign-unsuitable"
    SIGNING_FAILED = "signing-failed", _ERROR, _MAY_PASS
    SNAPSHOT_MISSING = "snapshot-missing"
    STAGE_MISSING = "stage-missing", _ERROR, _MAY_PASS
    STORE_UNWRITABLE = "store-unwritable", _ERROR, _MAY_PASS
    TOO_MANY_ACQUISITIONS = "too-many-acquisitions"
    TOO_MANY_ITEMS = "too-many-items"
    UNIT_UNKNOWN = "unit-unknown"
    VERY_LARGE = "very-large", _CONFIG
    WEIGHTS_CORRUPT = "weights-corrupt"
    WEIGHTS_DIFFER = "weights-differ"
    WEIGHTS_MISSING = "weights-missing"
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
