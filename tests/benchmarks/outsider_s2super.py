"""Runs in the environment of s2super, by `tests/benchmarks/outsider.py`: `python outsider_s2super.py IN.npz OUT.npz`.

The package's own wrapper needs GDAL for nothing but cutting and interpolation; so its net is loaded from its wheel, and
pictures are cut here: patches of 64 pixels, of which the 16 outer ones are thrown away. Bands come interpolated
linearly, blue, green and red as they are, reflectance, as the package has it; nothing is fitted to the scene.
"""

import importlib.util
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tf_keras

PATCH, RIM = 64, 16


def cut(x: np.ndarray, corners: list[tuple[int, int]], after: tuple[int, int]) -> np.ndarray:
    around = [(RIM, RIM + after[0]), (RIM, RIM + after[1]), (0, 0)]
    padded = np.pad(x, around, mode="symmetric")
    return np.stack([padded[r : r + PATCH, c : c + PATCH] for r, c in corners])


def sharpen(model: tf_keras.Model, low: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(y, x) and (y, x, 3) → (y, x)."""
    step = PATCH - 2 * RIM
    rows, cols = (-(-side // step) for side in low.shape)
    after = (rows * step - low.shape[0], cols * step - low.shape[1])
    corners = [(r * step, c * step) for r in range(rows) for c in range(cols)]
    inputs = [cut(low[..., None], corners, after), cut(visible, corners, after)]
    found = model.predict(inputs, batch_size=256, verbose=0)[..., 0]
    out = np.empty((rows * step, cols * step), np.float32)
    for (r, c), piece in zip(corners, found, strict=True):
        out[r : r + step, c : c + step] = piece[RIM:-RIM, RIM:-RIM]
    return out[: low.shape[0], : low.shape[1]]


def main() -> None:
    given, made = map(Path, sys.argv[1:])
    spec = importlib.util.find_spec("s2super")
    if spec is None or spec.origin is None:
        sys.exit("s2super is not installed here: pip install s2super tf_keras")
    model = tf_keras.models.load_model(Path(spec.origin).parent / "s2super_v5", compile=False)
    out = {}
    with np.load(given) as content:
        for name in (n for n in content.files if n.startswith("low-")):
            key = name.removeprefix("low-")
            visible = content[f"visible-{key}"].transpose(1, 2, 0)
            out[key] = np.stack([sharpen(model, low, visible) for low in content[name]])
    np.savez(made, **out)


if __name__ == "__main__":
    main()
