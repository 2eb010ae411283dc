"""Doubt about an offset in the metadata, if the darkest pixels contradict it.

Flags of archives err both ways. An offset subtracted twice moves much of a scene below zero. An offset that was not
subtracted raises the darkest pixels of every band to 0.1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2sharp_core.bands import in_order, native_gsd
from s2sharp_core.lattice import Box

from ..catalog.reflectance import PLAIN_OFFSET, RAW_OFFSET
from .acquisition import Acquisition
from .radiometry import decode, reference_offset
from .raster import OpenFiles
from .read import Block, read_scene
from .scene import Scene

BELOW = 0.2
"""Share of a band's pixels below −0.02 that neither atmosphere nor noise explains."""

BRIGHT = 0.18
"""Largest reflectance of the darkest pixels in half of the bands, for a scene with shade, water or vegetation and an
offset that is 0.1 too high. The darkest pixels of clouds and deserts may truly exceed 0.095, but most of their bands
are brighter than this."""

BLINDING = 2.0
"""Reflectance that half of a scene never has, not even in sunlit cloud."""

SAMPLES, SIDE = 3, 24
"""Windows along each axis of a scene, and cells along each window."""

FEW = 4
"""Number of checked bands, the coarsest: an offset is the same in all bands, and these are small."""


@dataclass(frozen=True)
class Doubt:
    """A contradiction between a scene's pixels and its offset.

    ``offset``: the offset that fits the pixels; ``certain``: whether nothing else explains them.
    """

    item: str
    text: str
    offset: float
    certain: bool


def offset_doubt(block: Block, acquisition: Acquisition) -> Doubt | None:
    """Return the contradiction to the offset of a scene in a block, or None."""
    samples = {}
    for band, y in block.data.items():
        sample = y[:: max(1, y.shape[0] // 200), :: max(1, y.shape[1] // 200)]
        samples[band] = sample[~np.isnan(sample)]
    return _doubt(samples, acquisition.within(block.box))


def _doubt(samples: Mapping[str, np.ndarray], scenes: Sequence[Scene]) -> Doubt | None:
    """Judge the reflectance of some bands; a band with too few pixels is ignored."""
    if not samples or any(sample.size < 100 for sample in samples.values()):
        return None
    brightest, middle = max(
        ((b, float(np.median(s))) for b, s in samples.items()), key=lambda x: x[1]
    )
    if middle > BLINDING:
        scene = max(scenes, key=lambda scene: scene.sources[0].scale)
        source = scene.sources[0]
        return Doubt(
            scene.id,
            f"Item {scene.id}: half of {brightest} lies above {middle:.1f}, which no ground and no cloud reaches. "
            f"Its scale seems to differ from {source.scale:g}.",
            source.offset,
            certain=True,
        )
    lowest = [float(np.quantile(sample, 0.001)) for sample in samples.values()]
    below = max(float(np.mean(sample < -0.02)) for sample in samples.values())
    for scene in scenes:
        source = scene.sources[0]
        if source.offset < 0 and below > BELOW:
            return Doubt(
                scene.id,
                f"Item {scene.id}: much of a band lies below -0.02 after "
                f"its offset of {source.offset:g} ({source.origin}). The archive seems to have "
                "applied it already.",
                PLAIN_OFFSET,
                certain=True,
            )
        modern = scene.baseline is None or scene.baseline >= (4, 0)
        if source.offset == 0 and not source.signed and modern and min(lowest) > 0.095:
            return Doubt(
                scene.id,
                f"Item {scene.id}: the darkest pixels of every band lie above "
                f"0.095 without an offset ({source.origin}). The offset seems to be missing, so "
                "reflectance is 0.1 too high.",
                RAW_OFFSET,
                certain=float(np.median(lowest)) < BRIGHT,
            )
    return None


def offsets_of_pixels(
    acquisitions: Iterable[Acquisition], known: Mapping[str, float]
) -> dict[str, float]:
    """Return the offset of each item that fits its pixels: the metadata's, unless the pixels contradict it.

    The checked windows lie on a scene's own grid, so the requested area has no influence.

    ``known``: earlier results. They are returned, too, and their items are not checked again. Errors: as in
    :func:`~s2sharp.scenes.read.read_scene`.
    """
    found = dict(known)
    for acquisition in acquisitions:
        for scene in acquisition.scenes:
            if scene.id not in found:
                alone = replace(acquisition, scenes=(scene,))
                doubt = _doubt(_samples(alone, scene), [scene])
                sure = doubt is not None and doubt.certain
                found[scene.id] = doubt.offset if doubt and sure else scene.sources[0].offset
    return found


def _samples(acquisition: Acquisition, scene: Scene) -> dict[str, np.ndarray]:
    """Return the reflectance of windows spread over a whole scene, by band."""
    names = in_order({source.band for source in scene.sources})
    coarsest = sorted(names, key=native_gsd, reverse=True)[:FEW]
    kept = OpenFiles()
    samples = {}
    for band in coarsest:
        parts = []
        for box in _windows(scene.box):
            dn = read_scene(acquisition, scene, band, box, kept)
            y, _ = decode(dn, *reference_offset(acquisition, band))
            parts.append(y[~np.isnan(y)])
        samples[band] = np.concatenate(parts)
    return samples


def _windows(whole: Box) -> list[Box]:
    """Return windows whose centres divide the scene evenly; for a small scene, the whole scene."""
    rows, cols = whole.shape
    boxes = []
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            row = whole.row0 + (2 * i + 1) * rows // (2 * SAMPLES) - SIDE // 2
            col = whole.col0 + (2 * j + 1) * cols // (2 * SAMPLES) - SIDE // 2
            boxes.append(Box(row, row + SIDE, col, col + SIDE) & whole)
    return [whole] if max(rows, cols) <= SAMPLES * SIDE else boxes
