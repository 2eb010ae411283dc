"""Verify a mosaic: broken files are recorded as failed, so that the same command makes them anew."""

import itertools
from collections.abc import Callable

from ..cube.layout import shard_file
from ..engine.lease import Lease
from ..engine.verify import Broken, broken_metadata, revoke_broken, some_recorded
from ..storage.location import Location
from .plan import MosaicPlan
from .publish import cog_folder
from .store import misplaced


def verify_mosaic(
    out: Location, share: float = 1.0, tell: Callable[[str], None] = lambda _: None
) -> tuple[int, list[Broken]]:
    """Read back the files of a mosaic as :func:`~s2sharp.execution.verify.verify_run` does those of a run."""
    MosaicPlan.read(out)
    with Lease.taken(out, tell=tell) as lease:
        plan = MosaicPlan.read(out)
        levels = (plan.tiles(level) for level in range(1, plan.canvas.levels + 1))
        tiles = {plan.name(tile): tile for tile in itertools.chain(plan.tiles(), *levels)}
        cogs = {plan.name(tile, "cogs"): cog_folder(plan, tile) for tile in plan.tiles()}

        def locate(name: str, variable: str) -> Location | None:
            if name in cogs:
                return cogs[name] / f"{variable}.tif"
            if name not in tiles:
                return None
            tile = tiles[name]
            place = tile.period, tile.row, tile.col, tile.level
            return plan.store / shard_file(plan.canvas, variable, *place)

        chosen = some_recorded(plan.ledger, share)
        count, broken = revoke_broken(plan.ledger, chosen, locate, check=lease.check)
        lost = broken_metadata(plan.store.name, misplaced(plan.store, plan.canvas))
        return count, broken + lost
