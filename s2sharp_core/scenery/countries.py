"""Kinds of land for drawn landscapes."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Country:
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


COUNTRIES = {
    "farmland": Country(
        often=0.26,
        farmed=(0.85, 1.0),
        side=(7, 15),
        green=(0.45, 0.8),
        wooded=(0.08, 0.35),
        height=(1, 6),
        towns=2.5,
        water=("river", "lake", ""),
    ),
    "plain": Country(
        often=0.14,
        farmed=(0.95, 1.0),
        side=(14, 32),
        green=(0.2, 0.7),
        wooded=(0, 0.1),
        height=(0.3, 2),
        towns=1.2,
        water=("river", "", ""),
    ),
    "forest": Country(
        often=0.15,
        farmed=(0.05, 0.3),
        side=(12, 24),
        green=(0.5, 0.8),
        wooded=(0.55, 0.85),
        height=(1.5, 7),
        towns=0.5,
        water=("lake", "lake", "river"),
    ),
    "mountain": Country(
        often=0.13,
        farmed=(0, 0.1),
        side=(8, 14),
        green=(0.3, 0.7),
        wooded=(0.1, 0.4),
        height=(22, 50),
        towns=0.3,
        water=("river", ""),
        snow=(0, 0.3),
    ),
    "coast": Country(
        often=0.15,
        farmed=(0.2, 0.8),
        side=(9, 20),
        green=(0.3, 0.7),
        wooded=(0.05, 0.3),
        height=(1, 6),
        towns=1.5,
        water=("sea",),
    ),
    "dryland": Country(
        often=0.1,
        farmed=(0, 0.3),
        side=(20, 40),
        green=(0.03, 0.3),
        wooded=(0, 0.05),
        height=(2, 10),
        towns=0.4,
        water=("wadi", "wadi", "sea"),
    ),
    "winter": Country(
        often=0.07,
        farmed=(0.3, 0.8),
        side=(14, 26),
        green=(0.1, 0.4),
        wooded=(0.2, 0.6),
        height=(3, 12),
        towns=0.8,
        water=("lake", "river"),
        snow=(0.8, 1),
    ),
}
"""Countries by name."""
