"""Downloaded products in place of a catalog: SAFE folders, zips and EOPF Zarrs, or a folder of them."""

from collections.abc import Iterator
from pathlib import Path

import pystac

from s2sharp_core.errors import S2SharpError

from ..storage.location import Location, on_this_machine, place, store_errors
from .addresses import is_eopf, is_local, is_product, split_address
from .faults import BrokenError, unreachable
from .safe import METADATA, is_safe, safe_item
from .signing import archive_place

MAX_DEPTH = 8
"""Deepest nesting of searched folders: archives sort products by year, month and day."""


def are_products(catalog: str) -> bool:
    """Return whether ``catalog`` is a product, by its name, or a folder without a catalog file."""
    name = split_address(catalog)[0].rstrip("/").lower()
    if is_product(catalog):
        return True
    if is_local(catalog):
        folder = place(catalog)
        files = (folder / name for name in ("catalog.json", "collection.json"))
        return folder.is_dir() and not any(file.exists() for file in files)
    web = catalog.lower().startswith(("http:", "https:"))
    return not web and not name.endswith(".json")


def product_paths(catalog: str) -> Iterator[str]:
    """Yield the products of a catalog, in order of their names. Error: ``catalog-unreachable``."""
    if is_eopf(catalog):
        # A web server does not list folders, so the address must be that of a product.
        yield catalog if "://" in catalog else str(place(catalog))
        return
    root = archive_place(catalog)
    try:
        if not root.exists():
            raise unreachable(catalog, "does not exist")
        yield from _below(root, MAX_DEPTH)
    except store_errors() as error:
        raise unreachable(catalog, f"can't be listed ({type(error).__name__})") from None


def _below(path: Location, depth: int) -> Iterator[str]:
    if is_safe(path) or is_eopf(path.name):
        yield str(path)
    elif depth and path.is_dir() and not (on_this_machine(path) and path.is_symlink()):
        names = sorted(child.name for child in path.iterdir())
        if not METADATA.isdisjoint(names):  # a product in a renamed folder
            yield str(path)
            return
        for name in names:
            yield from _below(path / name, depth - 1)


def product_around(path: Path) -> Path | None:
    """Return the SAFE folder that contains a local path, or None."""
    inside = (f for f in path.parents if any((f / name).exists() for name in METADATA))
    return next(inside, None)


def product_item(path: str) -> tuple[str, pystac.Item]:
    """Return the level of a product, ``"l1c"`` or ``"l2a"``, and its item.

    Raise :class:`BrokenError` with the fault of the product.
    """
    try:
        if not is_eopf(path):
            return safe_item(archive_place(path))
        from .eopf import eopf_item

        return eopf_item(path)
    except (BrokenError, S2SharpError):
        raise
    except store_errors() as error:
        raise BrokenError(f"can't be read ({type(error).__name__})") from None
    except Exception as error:  # zarr does not validate metadata; a fault fails this product alone
        raise BrokenError(f"has metadata that cannot be read ({type(error).__name__})") from error
