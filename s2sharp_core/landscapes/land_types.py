"""Kinds of land for drawn landscapes."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class LandType:
    """A kind of land; ranges are (least, most).

    Attributes
    ----------
    often
        Share of all landscapes.
    farmed, wooded, snow
        Share of the land.
    side
        Side of fields in pixels of 10 m.
    green
        Share of leaves over open ground.
    height
        Standard deviation of the relief in pixels.
    towns
        Number of villages on 288 × 288 pixels.
    water
        Kinds of water, of which one is drawn: ``"river"``, ``"wadi"``, ``"lake"``, ``"sea"`` or none.
    """

    often: float
    farmed: Range
    side: Range
    green: Range
    wooded: Range
    height: Range
    towns: float
    water: tuple[str, ...]
    snow: Range = (0, 0)


# fmt: off
COUNTRIES = {
    #                   often farmed       side      green        wooded        height    towns water                     snow
    "farmland": LandType(0.26, (0.85, 1.0), (7, 15),  (0.45, 0.8), (0.08, 0.35), (1, 6),   2.5,  ("river", "lake", "")),
    "plain":    LandType(0.14, (0.95, 1.0), (14, 32), (0.2, 0.7),  (0, 0.1),     (0.3, 2), 1.2,  ("river", "", "")),
    "forest":   LandType(0.15, (0.05, 0.3), (12, 24), (0.5, 0.8),  (0.55, 0.85), (1.5, 7), 0.5,  ("lake", "lake", "river")),
    "mountain": LandType(0.13, (0, 0.1),    (8, 14),  (0.3, 0.7),  (0.1, 0.4),   (22, 50), 0.3,  ("river", ""),            (0, 0.3)),
    "coast":    LandType(0.15, (0.2, 0.8),  (9, 20),  (0.3, 0.7),  (0.05, 0.3),  (1, 6),   1.5,  ("sea",)),
    "dryland":  LandType(0.1,  (0, 0.3),    (20, 40), (0.03, 0.3), (0, 0.05),    (2, 10),  0.4,  ("wadi", "wadi", "sea")),
    "winter":   LandType(0.07, (0.3, 0.8),  (14, 26), (0.1, 0.4),  (0.2, 0.6),   (3, 12),  0.8,  ("lake", "river"),        (0.8, 1)),
}
# fmt: on
"""Countries by name."""
