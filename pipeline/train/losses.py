"""Plot of a loss curve."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np


def draw_losses(weights: Path) -> Path | None:
    """Draw the loss curve beside ``weights``; None if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    steps, losses = np.loadtxt(
        weights.with_suffix(".loss.csv"), delimiter=",", skiprows=1, ndmin=2
    ).T
    figure = Figure(figsize=(6, 3.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#1b6ca8")
    axes.set(xlabel="step", ylabel="loss", title=weights.stem)
    axes.spines[["top", "right"]].set_visible(False)
    file = weights.with_suffix(".loss.png")
    figure.savefig(file)
    return file
