"""Items of a plan, frozen as one file, and the acquisitions made from them."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pystac

from s2sharp_core import S2SharpError

from ..catalog.geoparquet import whole
from ..scenes.acquisition import Acquisition, Choice, group, numbered, with_offsets
from ..scenes.scene import Refusal
from .client_plan import FIT_ITEMS, ITEMS, ClientPlan, missing
from .config import RunConfig
from .plan import Plan
from .units import Datatake, by_datatake


def freeze_items(
    config: RunConfig, before: bytes, items: Iterable[pystac.Item], reads: tuple[str, ...]
) -> tuple[bytes, list[Acquisition], list[Refusal], list[Choice]]:
    """Freeze items as stac-geoparquet, after those frozen ``before``; return the file, and the acquisitions, refusals and
    choices made of them. Without room for a temporary file, raise ``store-unwritable``.
    """
    from ..scenes.item_files import write_items

    every = chain(_items(before), items)
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder, ITEMS)
            found = write_items(file, every, reads, config.catalog, config.access)
            return file.read_bytes(), *found
    except OSError as error:
        raise S2SharpError(
            "store-unwritable",
            f"Cannot write a temporary file: {error}.",
            "Make room in the folder of temporary files, or choose another by TMPDIR.",
        ) from error


def _items(items: bytes) -> Iterator[pystac.Item]:
    """Yield the items that :func:`freeze_items` froze."""
    if items:
        yield from whole(items, ITEMS)


def with_acquisitions(plan: Plan) -> ClientPlan:
    """Return the plan of a continued run with the acquisitions of its frozen items; ``file-broken`` if some are lost."""
    config = plan.config
    try:
        items = (plan.out / ITEMS).read_bytes()
    except FileNotFoundError:
        raise S2SharpError(
            "file-broken",
            f"{plan.out}/{ITEMS}, the items of the run, is missing.",
            "Put it back from a copy, or choose another --out.",
        ) from None
    fits = plan.out / FIT_ITEMS
    fit_items = fits.read_bytes() if fits.exists() else b""
    found, *_ = group(_items(items), plan.files, config.catalog, config.access)
    offsets = plan.offsets if config.trust_offset == "pixels" else {}
    there = [numbered(with_offsets(a, offsets), plan.numbers.get(a.id, ())) for a in found]
    if lost := missing(plan, there):
        raise S2SharpError(
            "file-broken",
            f"{plan.out}/{ITEMS} is broken: it lacks items of {lost}.",
            "Put it back from a copy, or choose another --out.",
        )
    taken, *_ = group(_items(fit_items), plan.reads, config.catalog, config.access)
    datatakes = by_datatake(with_offsets(a, offsets) for a in taken)
    return ClientPlan.made_of(plan, there, datatakes, items, fit_items)


def with_checked_offsets(plan: ClientPlan) -> ClientPlan:
    """Return the plan with the offsets that fit the pixels, if ``trust_offset`` is "pixels"."""
    if plan.config.trust_offset != "pixels":
        return plan
    from ..scenes.offset_check import offsets_of_pixels  # it loads readers of pixels

    offsets = offsets_of_pixels(plan.acquisitions, plan.offsets)
    datatakes = tuple(
        Datatake(d.take, tuple(with_offsets(a, offsets) for a in d.acquisitions))
        for d in plan.datatakes
    )
    acquisitions = tuple(with_offsets(a, offsets) for a in plan.acquisitions)
    return plan.model_copy(
        update={"offsets": offsets, "acquisitions": acquisitions, "datatakes": datatakes}
    )
