"""Boxes in degrees."""

Degrees = tuple[float, float, float, float]
"""West, south, east, north; west > east crosses the antimeridian."""


def valid_bbox(bbox: Degrees | None) -> Degrees | None:
    """Return a valid box in degrees, or None for None; raise ``ValueError`` otherwise."""
    if bbox is None:
        return None
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise ValueError("must be W S E N in degrees, S < N")
    # A box around the far side of the globe is more likely a mix-up of W and E.
    if west == east or (west > east and west - east < 180):
        raise ValueError("W must be less than E, unless the box crosses the antimeridian")
    return bbox
