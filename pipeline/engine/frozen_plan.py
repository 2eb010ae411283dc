"""Plans frozen in a file that every worker reads: written atomically, read once a process, and versioned by a stamp."""

from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar, Self, cast
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from s2sharp_core import S2SharpError

from ..storage.files import read_text, write_text
from ..storage.location import Location, store_errors
from .ledger import Ledger


class Frozen(BaseModel):
    """A plan, frozen in its folder; ``stamp`` identifies one writing of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    FILE: ClassVar[str]
    """Name of the file in its folder."""
    FLAG: ClassVar[str]
    """Flag that chooses the folder, for remedies."""

    stamp: str = ""

    @property
    def folder(self) -> Location:
        raise NotImplementedError

    @property
    def ledger(self) -> Ledger:
        """The records of what is done."""
        return Ledger(self.folder / "ledger")

    def settled(self, folder: Location) -> Self:
        """Return the plan with the folder where it lies now."""
        raise NotImplementedError

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy like pydantic, without cached values, which were computed from the old fields."""
        copy = super().model_copy(update=update, deep=deep)
        for name in set(vars(copy)).difference(type(self).model_fields):
            del vars(copy)[name]
        return copy

    def freeze(self) -> Self:
        """Write the plan atomically; return it with a new stamp.

        Units of earlier plans must not write any more from now on (:meth:`check`).
        """
        stamped = self.model_copy(update={"stamp": uuid4().hex})
        # The stamp is written first, so that units of the earlier plan end before the new one exists.
        write_text(self._stamp_file(self.folder), stamped.stamp)
        write_text(self.folder / self.FILE, stamped.model_dump_json(indent=1))
        return stamped

    @classmethod
    def _stamp_file(cls, folder: Location) -> Location:
        return folder / f"{cls.FILE.removesuffix('.json')}.stamp"

    @classmethod
    def read(cls, folder: Location) -> Self:
        """Return the plan in ``folder``.

        Errors: ``not-a-run``; ``other-run`` when another version wrote it, or it is broken.
        """
        try:
            plan = cls.model_validate_json(read_text(folder / cls.FILE))
        except ValueError as error:
            raise S2SharpError(
                "other-run",
                f"{folder}/{cls.FILE} is broken, or was not written by this version of s2sharp.",
                f"Continue it with the version that began it, or choose another {cls.FLAG}.",
            ) from error
        except store_errors() as error:
            # For a missing file, the error's own text adds nothing.
            why = "" if isinstance(error, FileNotFoundError) else f": {error}"
            raise S2SharpError(
                "not-a-run",
                f"{folder} holds no {cls.FILE} of s2sharp{why}.",
                f"Make one: `s2sharp {cls.FILE.removesuffix('.json')} {cls.FLAG} …`.",
            ) from error
        return plan.settled(folder)

    @classmethod
    def under(cls, folder: Location, stamp: str) -> Self:
        """Return the plan under which a unit was submitted, read once a process; ``other-run`` if there is a later one."""
        with _reading:  # otherwise two threads would each read it
            return cast("Self", _read_once(cls, folder, stamp))

    @classmethod
    def check(cls, folder: Location, stamp: str) -> None:
        """Refuse a unit whose plan was written anew since it began (``other-run``)."""
        if read_text(cls._stamp_file(folder)).strip() != stamp:
            raise _superseded(folder)


def _superseded(folder: Location) -> S2SharpError:
    return S2SharpError(
        "other-run",
        f"{folder} was taken over by another run while this unit was waiting or at work.",
        "Leave it to that run: it does what is missing.",
    )


_reading = Lock()


# Tasks carry folder and stamp of a plan, and the plan is cached in the process. Several, since a user's own cluster may do
# units of several runs at once.
@lru_cache(maxsize=4)
def _read_once(kind: type[Frozen], folder: Location, stamp: str) -> Frozen:
    plan = kind.read(folder)
    if plan.stamp != stamp:
        raise _superseded(folder)
    return plan
