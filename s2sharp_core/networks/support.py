"""Intervals of pixels that the steps of a network read, from the last step back to the first."""

Interval = tuple[int, int]


def wider(at: Interval, by: int) -> Interval:
    return at[0] - by, at[1] + by


def union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def seen_from(coarse: Interval, ratio: int, margin: int) -> Interval:
    """Return the fine pixels that coarse ones are blurred from."""
    return coarse[0] * ratio - margin, (coarse[1] + 1) * ratio - 1 + margin


def halved(at: Interval) -> Interval:
    """Return the 20 m pixels that contain 10 m pixels."""
    return at[0] // 2, at[1] // 2


def interpolated_from(fine: Interval, ratio: int, kind: str) -> Interval:
    """Return the coarse pixels that fine ones are interpolated from."""
    support = {"linear": 1, "cubic": 2}[kind]
    # Positions times twice the ratio are whole numbers. A pixel at the end of the support has no weight.
    first, last = (2 * at + 1 - ratio for at in fine)
    return first // (2 * ratio) - support + 1, -(-last // (2 * ratio)) + support - 1
