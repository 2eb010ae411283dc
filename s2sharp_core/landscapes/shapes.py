"""Shapes of land: rough surfaces, fields within fields, winding lines, soft edges. Units: pixels."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

Shape = tuple[int, int]
# Sub-pixels along one side of a pixel, for borders that run at an angle.
_SUB = 2


def fractal(shape: Shape, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random surface with power spectrum ∝ 1/f^slope, mean 0, standard deviation 1: float32."""
    # The surface is cut from a larger one, because one of the same size would be periodic, with its left edge like
    # its right one.
    size = [fft.next_fast_len(n + n // 4 + 8, real=True) for n in shape]
    f_y, f_x = fft.fftfreq(size[0]), fft.rfftfreq(size[1])
    f = np.hypot(f_y[:, None], f_x[None, :]).astype(np.float32)
    f[0, 0] = np.inf
    passed = f ** np.float32(-slope / 2)
    waves = fft.rfft2(rng.standard_normal(size, dtype=np.float32))
    surface = fft.irfft2(waves * passed, s=size)[: shape[0], : shape[1]]
    return np.asarray((surface - surface.mean()) / surface.std(), dtype=np.float32)


def streaks(shape: Shape, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise stretched along ``angle``, like rows and tramlines: float32, standard deviation 1."""
    size = [fft.next_fast_len(n, real=True) for n in shape]
    f_y, f_x = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])[None, :]
    along = f_x * np.cos(angle) + f_y * np.sin(angle)
    across = f_y * np.cos(angle) - f_x * np.sin(angle)
    passed = np.exp(-((along / 0.03) ** 2) - (across / 0.35) ** 2) / (0.04 + np.abs(across)) ** 0.7
    waves = fft.rfft2(rng.standard_normal(size, dtype=np.float32))
    rows = fft.irfft2(waves * passed.astype(np.float32), s=size)[: shape[0], : shape[1]]
    return np.asarray(rows / rows.std(), dtype=np.float32)


def edge(field: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Return soft membership of the area where ``field`` is above zero; its edge is about ``width`` pixels wide:
    float32.
    """
    gy, gx = np.gradient(field)
    distance = field / np.maximum(np.hypot(gy, gx), 1e-6)
    return np.asarray(np.clip(distance / width + 0.5, 0, 1), dtype=np.float32)


def line(field: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Return the share of each pixel that a line of ``width`` pixels along the zeros of ``field`` covers: float32."""
    gy, gx = np.gradient(field)
    distance = np.abs(field) / np.maximum(np.hypot(gy, gx), 1e-6)
    share = np.clip(width / 2 + 0.5 - distance, 0, np.minimum(width, 1))
    return np.asarray(share, dtype=np.float32)


def warped(shape: Shape, slope: float, by: float, rng: np.random.Generator) -> np.ndarray:
    """Return a plane that rises across the image in a random direction, bent by ``by`` of the image's side.

    Its zeros are one long line that winds through the middle third: a coast, a river, a road.
    """
    side = max(shape)
    y, x = np.indices(shape, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    plane = (y - shape[0] / 2) * np.sin(angle) + (x - shape[1] / 2) * np.cos(angle)
    plane += side * (rng.uniform(-0.3, 0.3) + by * fractal(shape, slope, rng))
    return np.asarray(plane, dtype=np.float32)


@dataclass(frozen=True)
class Parcels:
    """Fields within blocks within districts.

    Attributes
    ----------
    field, block
        Number of the field and of its block at each sub-pixel: int32 (2h, 2w).
    angle
        Direction of each field in radians: (fields,).
    """

    field: np.ndarray
    block: np.ndarray
    angle: np.ndarray

    @property
    def count(self) -> int:
        """Return the number of fields."""
        return len(self.angle)

    def paint(self, values: np.ndarray) -> np.ndarray:
        """Return each field's ``values`` (fields, …) at its pixels, mixed at borders: float32 (…, h, w)."""
        values = np.asarray(values, dtype=np.float32)
        parts = [self.field[i::_SUB, j::_SUB] for i in range(_SUB) for j in range(_SUB)]
        flat = values.reshape(self.count, -1).T
        picture = sum(np.take(flat, part, axis=1) for part in parts) / len(parts)
        return np.asarray(picture).reshape(*values.shape[1:], *parts[0].shape)

    def mean(self, picture: np.ndarray) -> np.ndarray:
        """Return each field's mean of ``picture`` (h, w): (fields,)."""
        label = self.field[::_SUB, ::_SUB].ravel()
        pixels = np.bincount(label, minlength=self.count)
        sums = np.bincount(label, picture.ravel(), minlength=self.count)
        return np.asarray(sums / np.maximum(pixels, 1))

    def borders(self, of: np.ndarray, width: float) -> np.ndarray:
        """Return the share of each pixel that lines of ``width`` pixels along the borders of ``of`` cover: (h, w)."""
        on = np.zeros(of.shape, dtype=np.float32)
        on[:-1] += of[:-1] != of[1:]
        on[:, :-1] += of[:, :-1] != of[:, 1:]
        h, w = (n // _SUB for n in of.shape)
        share = np.minimum(on, 1).reshape(h, _SUB, w, _SUB).mean(axis=(1, 3))
        return np.minimum(share * width, 1)


def parcels(shape: Shape, side: float, rng: np.random.Generator) -> Parcels:
    """Cut land into districts, blocks and fields of about ``side`` pixels, most of them four-sided."""
    fine = tuple(_SUB * n for n in shape)
    y, x = (i.ravel() / _SUB for i in np.indices(fine, dtype=np.float32))
    bend = np.repeat(np.repeat(side / 3 * fractal(shape, 4.5, rng), _SUB, 0), _SUB, 1).ravel()
    count = max(1, round(shape[0] * shape[1] / (12 * side) ** 2))
    district = _nearest(y + 2 * bend, x - 2 * bend, rng.uniform(0, 1, (count, 2)) * shape)
    field, block = np.zeros(y.size, dtype=np.int32), np.zeros(y.size, dtype=np.int32)
    angles: list[float] = []
    blocks = 0
    for d in range(count):
        angle = rng.uniform(0, np.pi)
        here = np.flatnonzero(district == d)
        c, s = np.cos(angle), np.sin(angle)
        u = x[here] * c + y[here] * s + bend[here]
        v = y[here] * c - x[here] * s + bend[here]
        # Larger pieces are cut first, down to blocks, then to fields; a piece knows its block, or -1.
        pieces = [(here, u, v, -1)] if here.size else []
        while pieces:
            at, pu, pv, own = pieces.pop()
            size = np.sqrt(at.size) / _SUB
            last = size < side * np.exp(rng.normal(0.1, 0.4)) or at.size < 4 * _SUB**2
            if own < 0 and (last or size < side * rng.uniform(2.0, 4.5)):
                own, blocks = blocks, blocks + 1
                block[at] = own
            long, tall = pu.max() - pu.min(), pv.max() - pv.min()
            if last:
                field[at] = len(angles)
                angles.append(angle if long >= tall else angle + np.pi / 2)
                continue
            along, length = (pv, tall) if tall * rng.uniform(0.6, 1.6) > long else (pu, long)
            first = along < along.min() + length * rng.uniform(0.3, 0.7)
            pieces += [(at[p], pu[p], pv[p], own) for p in (first, ~first) if p.any()]
    return Parcels(field.reshape(fine), block.reshape(fine), np.array(angles))


def _nearest(y: np.ndarray, x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of ``centres`` (n, 2) at each place."""
    number = np.zeros(y.size, dtype=np.int32)
    least = np.full(y.size, np.inf, dtype=np.float32)
    for i, (cy, cx) in enumerate(centres.astype(np.float32)):
        away = (y - cy) ** 2 + (x - cx) ** 2
        nearer = away < least
        number[nearer], least[nearer] = i, away[nearer]
    return number
