"""Scenes the core tests are about: synthetic ones, and sharpeners that are quick to run."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.networks import ResidualNet
from s2sharp_core.scene import make_scene
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import Sharpener
from s2sharp_core.sharpeners.loading import load_sharpener
from s2sharp_core.weights import save_net

NORTH, SOUTH = Lattice.of(32633), Lattice.of(32733)


def native(truth: np.ndarray, snr: float = 200.0) -> dict[str, np.ndarray]:
    """What the satellite sees of `truth` (12, 6h, 6w), by band."""
    seen = observe(truth, snr)
    return {band: y for gsd in GSDS for band, y in zip(BY_GSD[gsd], seen[gsd], strict=True)}


def box_at(rows: int, cols: int) -> Box:
    """A place that is no multiple of any window, in the middle of a zone."""
    return Box(90_007, 90_007 + rows, 8_335, 8_335 + cols)


def scene(rows: int, cols: int, seed: int = 4242, lattice: Lattice = NORTH) -> xr.DataTree:
    truth = landscape((6 * rows, 6 * cols), seed)
    return make_scene(native(truth), lattice, box_at(rows, cols))


def crop(whole: xr.DataTree, inner: Box, outer: Box) -> xr.DataTree:
    """The cells `inner` of a scene that covers `outer`."""
    parts = {}
    for gsd in GSDS:
        rows, cols = outer.slices(inner, gsd)
        parts[f"r{gsd}m"] = whole[f"r{gsd}m"].to_dataset().isel(y=rows, x=cols)
    return xr.DataTree.from_dict(parts)


def wild_dsen2(folder: Path, features: int = 8, blocks: int = 3) -> Sharpener:
    """A small dsen2 with random weights: its answers are nonsense, and its laws are those of any weights."""
    for gsd in (20, 60):
        torch.manual_seed(gsd)
        net = ResidualNet(gsd, features, blocks)
        torch.nn.init.normal_(net.tail.weight, std=0.05)
        save_net(net, folder / f"dsen2-{gsd}m.safetensors", {})
    return load_sharpener("dsen2", weights=folder)
