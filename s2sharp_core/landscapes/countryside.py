"""Open land, fields, woods, roads and snow."""

import numpy as np
from scipy import ndimage

from .canvas import WET, Canvas, threshold
from .shapes import edge, line, parcels, streaks, warped


def open_land(canvas: Canvas) -> None:
    """Paint grass, scrub and bare ground, with a density that varies with the ground."""
    rng = canvas.rng
    damp = 0.5 * canvas.rough(2.4) + 0.35 * canvas.rough(1.6) - 0.6 * canvas.relief
    leaves = np.clip(canvas.green + 0.16 * damp, 0, 0.95)
    litter = np.clip(0.45 + 0.15 * canvas.rough(2.2), 0, 1) * (1 - leaves)
    dark = np.exp(-np.clip(canvas.wet + 0.3 * damp, 0.05, 2)[None] * WET[:, None, None])
    soil = canvas.mixed("soil") * dark
    canvas.land += soil.astype(np.float32)
    canvas.cover(litter, canvas.mixed("dry"))
    canvas.cover(leaves, 0.85 * canvas.mixed("canopy"))
    rock = edge(canvas.relief + 0.2 * canvas.rough(2.0) - rng.uniform(0.6, 1.6), 12)
    if canvas.height > 20:
        canvas.cover(0.8 * rock, canvas.mixed("sand"))


def farms(canvas: Canvas) -> None:
    """Paint fields: leaves over litter over soil, each with rows, gradients and thin places."""
    rng, fields, n = canvas.rng, canvas.fields, canvas.fields.count
    # Bare, sprouting, grown, ripe and stubble, meadow: share of leaves, share of litter on the rest.
    stages = np.array([(0.04, 0.1), (0.4, 0.1), (0.9, 0.2), (0.08, 0.8), (0.75, 0.7)])
    often = np.array(
        [1 - canvas.green, 0.5, 1.6 * canvas.green, 1 - canvas.green, 1.6 * canvas.green]
    )
    stage = stages[rng.choice(len(stages), n, p=often / often.sum())]
    share = np.clip(stage + rng.normal(0, 0.07, stage.shape), 0.01, 0.97)
    uneven = rng.lognormal(-2.9, 0.6, n)
    rows = rng.lognormal(-4.2, 0.6, n)
    variety = fields.paint(uneven) * (canvas.rough(2.4) + 0.6 * canvas.rough(1.4))
    drift = fields.paint(rng.normal(0, 0.05, (n, 2)))
    y, x = np.indices(canvas.shape, dtype=np.float32) / 15
    variety += drift[0] * np.sin(y) + drift[1] * np.sin(x)
    variety += fields.paint(rows) * _rows(canvas)
    leaves = np.clip(fields.paint(share[:, 0]) + variety, 0, 0.98)
    litter = np.clip(fields.paint(share[:, 1]) + 0.6 * variety, 0, 1)
    picture = canvas.soil(fields) * (1 - 0.5 * variety)
    picture += litter * (canvas.each("dry", fields, 0.9) - picture)
    picture += leaves * (canvas.each("canopy", fields, 0.88) - picture)
    farmed = rng.uniform(*canvas.country.farmed)
    good = fields.mean(-canvas.rough(3.4) - 0.4 * canvas.relief)
    canvas.farmed = fields.paint(good > threshold(1 - farmed))
    canvas.cover(canvas.farmed, picture)
    hedge = fields.borders(fields.field, rng.uniform(0.1, 0.8))
    hedge *= fields.paint(rng.random(n) < rng.uniform(0, 0.9)) * canvas.farmed
    canvas.cover(hedge, 0.6 * canvas.one("canopy"))
    track = fields.borders(fields.block, rng.uniform(0.2, 0.5)) * canvas.farmed
    canvas.cover(track, canvas.one(rng.choice(["asphalt", "sand", "soil"])))


def _rows(canvas: Canvas) -> np.ndarray:
    """Return rows and tramlines, along each field's direction to within 15 degrees."""
    angles = np.arange(6) * np.pi / 6
    nearest = np.round(canvas.fields.angle / (np.pi / 6)).astype(int) % 6
    return np.sum(
        [
            canvas.fields.paint(nearest == i) * streaks(canvas.shape, angle, canvas.rng)
            for i, angle in enumerate(angles)
            if (nearest == i).any()
        ],
        axis=0,
    )


def woods(canvas: Canvas) -> None:
    """Paint trees: lit crowns and the shade between them, in stands of one age, with clearings."""
    rng = canvas.rng
    wooded = rng.uniform(*canvas.country.wooded)
    if wooded < 0.01:
        return
    stands = parcels(canvas.shape, rng.uniform(16, 34), rng)
    where = canvas.rough(3.9) + 0.05 * canvas.rough(2.2) - 0.2 * canvas.relief
    natural = edge(where - threshold(1 - wooded), 1.5)
    # Between fields, woods end at the borders of fields.
    straight = canvas.fields.mean(where) > threshold(1 - 0.7 * wooded)
    alone = rng.random(canvas.fields.count) < 0.15 * wooded
    woods = np.maximum(natural, canvas.fields.paint(straight | alone) * canvas.farmed)
    conifers = rng.random(stands.count) < rng.uniform(0, 1)
    age = rng.normal(0, 0.12, stands.count)
    lit = np.where(conifers, 0.36, 0.66) * np.exp(age)
    crowns = np.exp(0.10 * canvas.rough(1.0) + 0.10 * canvas.rough(2.0))
    picture = canvas.each("canopy", stands, 0.8) * (stands.paint(lit) * crowns)
    cut = stands.paint((rng.random(stands.count) < 0.08).astype(float))
    bare = canvas.soil(stands)
    bare += np.clip(0.5 + 0.2 * canvas.rough(1.8), 0, 1) * (canvas.each("dry", stands, 0.8) - bare)
    picture += 0.8 * cut * (bare - picture)
    # Tall trees throw a shadow beside the wood, away from the sun, and lighten their own sunny edge.
    dy, dx = np.cos(canvas.sun[0]), np.sin(canvas.sun[0])
    thrown = ndimage.shift(woods, (-dy, -dx), order=1, mode="nearest")
    canvas.land *= 1 - 0.55 * np.clip(thrown - woods, 0, 1)
    canvas.cover(woods, picture)
    canvas.trees = woods * (1 - 0.9 * cut)


def roads(canvas: Canvas) -> None:
    """Paint some roads across the land."""
    rng = canvas.rng
    for _ in range(rng.integers(0, 2 + int(2 * min(canvas.country.towns, 2)))):
        field = warped(canvas.shape, rng.uniform(5.0, 5.6), rng.uniform(0.03, 0.12), rng)
        width = rng.choice([0.45, 0.7, 1.2], p=[0.5, 0.35, 0.15])
        canvas.cover(line(field, 2.2 * width) * 0.4, 0.8 * canvas.one("canopy"))
        canvas.cover(line(field, width), canvas.one(rng.choice(["asphalt", "asphalt", "concrete"])))


def snow(canvas: Canvas) -> None:
    """Lay snow on high land or on all open land; trees stand out of it, and wind and thaw thin it."""
    share = canvas.rng.uniform(*canvas.country.snow)
    if share < 0.02:
        return
    high = canvas.relief + 0.15 * canvas.rough(2.8) - threshold(1 - share)
    lies = edge(high, 4) * np.clip(0.9 + 0.12 * canvas.rough(1.6), 0, 1) * (1 - canvas.water)
    thin = 1 - 0.85 * canvas.trees
    canvas.cover(lies * thin, canvas.one("snow"))
