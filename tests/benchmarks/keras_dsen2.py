"""DSen2's two nets in Keras with the published patching, timed: run by `tests.benchmarks.speed`.

Needs TensorFlow, which lives in an environment of its own: `python keras_dsen2.py HEIGHT WIDTH` prints seconds.
Nets and patching as github.com/lanha/DSen2 has them: 6 blocks of 128 features; 20 m bands in patches of 128
px that overlap by 2 × 8, 60 m bands in patches of 192 px that overlap by 2 × 12. The weights do not matter for
the time; cutting, predicting and putting together count, interpolation to 10 m does not.
"""

import sys
import time

import numpy as np
from tensorflow import keras


def net(bands: list[int]) -> keras.Model:
    """Inputs of so many bands at 10 m each; the last of them is what is sharpened."""
    inputs = [keras.Input((None, None, n)) for n in bands]
    x = keras.layers.Concatenate()(inputs)
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(x)
    for _ in range(6):
        y = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(x)
        y = keras.layers.Conv2D(128, 3, padding="same")(y)
        y = keras.layers.Rescaling(0.1)(y)
        x = keras.layers.Add()([x, y])
    x = keras.layers.Conv2D(bands[-1], 3, padding="same")(x)
    return keras.Model(inputs, keras.layers.Add()([x, inputs[-1]]))


def sharpen(model: keras.Model, pictures: list[np.ndarray], patch: int, border: int) -> np.ndarray:
    height, width = pictures[0].shape[:2]
    step = patch - 2 * border
    rows, cols = -(-height // step), -(-width // step)
    after = (rows * step - height + border, cols * step - width + border)
    padded = [
        np.pad(p, ((border, after[0]), (border, after[1]), (0, 0)), mode="symmetric")
        for p in pictures
    ]
    corners = [(r * step, c * step) for r in range(rows) for c in range(cols)]
    cuts = [np.stack([p[r : r + patch, c : c + patch] for r, c in corners]) for p in padded]
    found = model.predict(cuts, batch_size=8, verbose=0)
    out = np.empty((rows * step, cols * step, found.shape[-1]), np.float32)
    for (r, c), piece in zip(corners, found, strict=True):
        out[r : r + step, c : c + step] = piece[border:-border, border:-border]
    return out[:height, :width]


def main() -> None:
    height, width = map(int, sys.argv[1:])
    random = np.random.default_rng(0)
    y10, y20, y60 = (random.random((height, width, n), np.float32) for n in (4, 6, 2))
    of20, of60 = net([4, 6]), net([4, 6, 2])
    best = float("inf")
    for _ in range(2):
        begin = time.perf_counter()
        sharpen(of20, [y10, y20], 128, 8)
        sharpen(of60, [y10, y20, y60], 192, 12)
        best = min(best, time.perf_counter() - begin)
    print(best)


if __name__ == "__main__":
    main()
