"""Cubes of random reflectance, to be published, and what is told of them."""

from pathlib import Path

import numpy as np
from pystac.validation import JsonSchemaSTACValidator, validate_dict
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout, encode
from s2sharp.cube.write import write_shard
from s2sharp.publish.stac import Provenance

from s2sharp_core.lattice import Box

TIMES = ("2024-01-06T10:00:00", "2024-01-01T10:00:00")  # not in order, as acquisitions may come
SECRET = "sv=2024&sig=TOPSECRET"
PROVENANCE = Provenance(
    id="S2B_20240106_R065",
    datetime="2024-01-06T10:00:00Z",
    platform="Sentinel-2B",
    cloud_cover=12.5,
    sources=(
        ("S2B_T33UUP", f"https://me:TOPSECRET@example.com/items/S2B_T33UUP?{SECRET}#TOPSECRET"),
        ("S2B_T33UVP", None),
    ),
    method="dsen2",
    weights={"dsen2-20m.safetensors": "ab12"},
    precision="float32",
    software="0.1.0",
)


def make_cube(out: Path, epsg: int, area: Box, bands=("B02", "B05"), cloudy=True) -> Layout:
    """A cube of random reflectance, dark negatives and nodata included, in shards of 384 px."""
    layout = Layout(epsg, area, shard=64, chunk=192, times=TIMES, bands=bands)
    lay_out(out / "cube.zarr", [layout], {layout.group: {"method": "dsen2"}})
    rng = np.random.default_rng(epsg)
    for time in range(len(TIMES)):
        for row in range(layout.shards()[0]):
            for col in range(layout.shards()[1]):
                data = {b: encode(rng.normal(0.1, 0.1, (384, 384)).astype("f4")) for b in bands}
                for pixels in data.values():
                    pixels[rng.random(pixels.shape) < 0.2] = FILL
                data |= {name: np.zeros((384, 384), kind) for name, (kind, _, _) in LAYERS.items()}
                if cloudy and time == 0:
                    data["cloud"] = rng.integers(0, 12, (384, 384)).astype("u1")
                write_shard(out / "cube.zarr", layout, time, row, col, data)
    return layout


def validate_offline(document: dict) -> None:
    """Validate against the schemas of the STAC core that pystac brings along, without a network.

    Schemas of extensions are not among them: their fields are read back through pystac's classes.
    """
    validate_dict(document, extensions=[], validator=JsonSchemaSTACValidator())
