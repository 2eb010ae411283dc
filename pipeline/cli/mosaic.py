"""``s2sharp mosaic`` and its flags."""

from typing import Any

import typer

from ..engine.settings import validated
from ..mosaic.config import MosaicConfig
from ..ui.terminal import GOES_ON, check_extras, told
from .flags import flag, option, takes

_PANELS = {
    None: "to",
    "What": "period by bands bbox dilate feather",
    "Grid": "crs resolution resampling tile",
    "Where it runs": "publish cog_compression workers memory scheduler insecure cluster yes retries "
    "max_failures on_failure events metrics quiet",
}
_DEFAULTS = {
    "bands": "the cube's",
    "bbox": "all of the cube",
    "crs": "the UTM code with most of the cube's pixels",
    "resolution": "10, for a CRS in metres",
    "tile": "2048, less for small areas",
    "workers": "one for each GPU, or for four cores",
    "scheduler": "a cluster on this machine",
}
_OUT = typer.Argument(
    metavar="OUT", help=MosaicConfig.model_fields["out"].description, show_default=False
)
_PLAN = typer.Option(False, "--plan", help="Show what it would read, need and write, and stop.")


def mosaic(*, plan: bool, **given: Any) -> None:
    """Make one picture per period from the cube that `run` made, across its EPSG codes, on one grid.

    Pixels are left out where the scene classification says cloud, thin cirrus or cloud shadow (classes 8, 9, 10
    and 3) or defective (1), and within --dilate metres of cloud and shadow. Snow is shown. A cube without a
    classification is shown whole. Where no observation is clear, `valid` is 0. The layer `source` names the
    acquisition of each pixel. Where a datatake has two codes, each pixel is taken from the code of its own zone.

    Values stay as observed. Differences between orbits and dates are not evened out; they are measured and written
    to TO/differences.json. --feather blends across borders.

    Examples:
    `s2sharp mosaic vienna --to vienna-monthly`

    `s2sharp mosaic alps --to alps-2024 --period year --by medoid --crs EPSG:3035 --resolution 20`
    """
    from ..ui.progress import prepare

    with told(GOES_ON):
        flags = {k: v for k, v in given.items() if v is not None}
        config = validated(MosaicConfig, flags, "See `s2sharp mosaic --help`.")
        check_extras(("odc",), "A mosaic", "Install it: `pip install 's2sharp[mosaic]'`.")
        from .make_mosaic import carry_out, planned

        if plan:
            planned(config)
        else:
            prepare(config)
            carry_out(config)


_flags = [
    flag(name, panel, MosaicConfig, _DEFAULTS)
    for panel, names in _PANELS.items()
    for name in names.split()
]
takes(mosaic, [option("out", _OUT, str), *_flags, option("plan", _PLAN, bool)])
