"""Local regression in s2net: detail of the finer bands, transferred to the coarse bands as far as these show it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.constants import constant
from ..sensor.observation import degrade
from ..sensor.response import Response, Sensor
from .planes import added_up, cropped, enlarged, filtered, phases_of, pooled, seen, smooth, strips
from .regression import believed_slopes, moments, refined_slopes, split

PLANES = (BY_GSD[20][:4], BY_GSD[20][4:])
"""Bands by focal plane. One kernel degrades the guides for all bands of a plane."""

TRIANGLE = torch.tensor([0.25, 0.5, 0.25])


def _gaussian(sigma: float, half: int) -> Tensor:
    k = torch.exp(-0.5 * (torch.arange(-half, half + 1.0) / sigma) ** 2)
    return k / k.sum()


# Kernels of the narrow neighbourhood, in coarse pixels, and of the wide ones, in cells of 60 m.
NARROW, WIDE_20, WIDE_60 = _gaussian(1.5, 2), _gaussian(1.33, 3), _gaussian(2.5, 5)
# Approximate number of independent pixels in each.
_IN_NARROW, _IN_WIDE_20, _IN_WIDE_60 = 16.0, 100.0, 60.0
# Least share of a neighbourhood that must have data for slopes. With less, far inside a gap, there is no evidence.
_FEWEST = 0.01
# Doubt in wide slopes and in their changes, in units of the energy that chance explains. Then the share of a
# predictor's detail beyond the coarse grid that is added to its variance, for both.
_DOUBT_WIDE, _DOUBT_NARROW, _STAKE_WIDE, _STAKE_NARROW = 3.0, 3.0, 0.1, 0.01
# Ridge of a change by focal plane: changes of the slopes of the red edge are mostly noise.
_RIDGE = (0.5, 0.05)
# Energy that counts as zero, reflectance².
_NOTHING = 1e-12
# Shares of white noise in the coarse half and in the fine half of a band's octave.
_SHARES = (
    float(TRIANGLE.square().sum()) ** 2,
    float(1 - 2 * 0.25 + TRIANGLE.square().sum() ** 2),
)
# Factor on the measured variance of noise. Then the share of a band's detail that errors of the kernel leave, by focal
# plane: the short-wave infrared follows the guides least, so its residual is detail of its own.
_NOISY, _KERNEL_ERROR = 1.75, (0.15, 0.0)
# Channels in memory at once: products of four guides and four bands; the remaining equations of ten predictors. Torch
# sums the last pixels of a strip in another order, so another number of rows would change the last bits.
_PRODUCTS, _UNKNOWNS = 34, 400
Shift = tuple[float, float]


@dataclass(frozen=True)
class NetSensor:
    """The sensor of a product, in the form that the steps of the net need.

    ``common``: the mean shift of each focal plane; ``rest20``: the shift of each 20 m band relative to it. ``guides``: for
    each focal plane, the sensor that degrades 10 m bands (under the name B02) like its bands, with the mean shift;
    ``onward``: the sensor from the 20 m grid to 60 m (under the name B01).
    """

    sensor: Sensor
    guides: tuple[Sensor, ...]
    onward: Sensor
    common: tuple[Shift, ...]
    rest20: tuple[Shift, ...]
    shifts20: tuple[Shift, ...]
    shifts60: tuple[Shift, ...]
    noise: tuple[float, ...]

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, sensor: Sensor) -> "NetSensor":
        guides = tuple(replace(sensor.mean(bands), band="B02") for bands in PLANES)
        common = tuple((guide.dy, guide.dx) for guide in guides)
        rest20 = tuple(
            (dy - of[0], dx - of[1])
            for bands, of in zip(PLANES, common, strict=True)
            for dy, dx in sensor.shifts(bands)
        )
        near, far = guides[0], sensor.mean(BY_GSD[60])
        rest = max(far.blur**2 - (near.blur / 3) ** 2, 1e-3)
        return cls(
            sensor,
            tuple(Sensor(responses=(guide,)) for guide in guides),
            Sensor(responses=(Response("B01", math.sqrt(rest), far.edge),)),
            common,
            rest20,
            sensor.shifts(BY_GSD[20]),
            sensor.shifts(BY_GSD[60]),
            sensor.noise_of(BY_GSD[20]),
        )


def in_halves(x: Tensor) -> Tensor:
    """Split an octave into its coarse half, then its fine half: (n, c, h, w) → (n, 2c, h, w)."""
    coarse = smooth(x, TRIANGLE)
    return torch.cat([coarse, x - coarse], dim=1)


def wiener(energy: Tensor, doubt: Tensor) -> Tensor:
    """Return Wiener's weights for a signal of which the part ``doubt`` of the ``energy`` is doubtful."""
    return (energy - doubt).clamp_min(0) / (energy + _NOTHING)


@dataclass(frozen=True)
class Plane:
    """Local regression of the 20 m bands (B) of one focal plane on the 10 m bands (4).

    On the whole window: ``seen`` (n, 4, h, w), the guides on the 20 m grid; ``energy`` (n, B, h/3, w/3) of the bands'
    detail. On the window without its rim: ``high`` (n, B, h, w), the bands' detail; ``fine`` (n, 4, 1, 4, h, w), the
    guides' detail beyond the 20 m grid, in phases; ``terms`` (n, 4, B, 4, h, w) and ``low_terms`` (n, 4, B, h, w), the
    contribution of each guide beyond the grid and on it; ``picture`` (n, B·4, h, w), the result; ``share`` (n, B, h, w),
    the explained share of the bands' energy.
    """

    seen: Tensor
    energy: Tensor
    high: Tensor
    fine: Tensor
    terms: Tensor
    low_terms: Tensor
    picture: Tensor
    share: Tensor

    @property
    def carried(self) -> Tensor:
        """The sum over the guides: (n, B, 4, h, w)."""
        return added_up(self.terms)

    def within(self, rim: int) -> "Plane":
        parts = (self.high, self.fine, self.terms, self.low_terms, self.picture, self.share)
        return Plane(self.seen, self.energy, *(cropped(x, rim) for x in parts))


def _aligned(y: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
    """Resample coarse bands by their shifts on their own grid; unchanged if all shifts are zero."""
    return phases_of(y, 1, shifts=shifts)[:, :, 0] if any(map(any, shifts)) else y


def transfer_detail(y10: Tensor, y20: Tensor, plane: int, sight: NetSensor, rim: int) -> Plane:
    """Regress the bands of one focal plane on the guides, in a wide neighbourhood and in a narrow one.

    ``y10``: in phases, (n, 4, 4, h, w); ``rim``: pixels on every side that the result leaves out.
    """
    bands = PLANES[plane]
    at = slice(BY_GSD[20].index(bands[0]), BY_GSD[20].index(bands[-1]) + 1)
    y, b = y20[:, at], len(bands)
    # The guides get the mean shift of the bands, so that both are resampled in the same way.
    guides = seen(y10, ("B02",) * 4, sight.guides[plane])
    both = torch.cat([guides, _aligned(y, sight.rest20[at])], dim=1)
    high = both - smooth(both, TRIANGLE)
    fine = phases_of(guides, 2, shifts=(sight.common[plane],) * 4).neg_().add_(y10)
    parts = high[:, :4], high[:, 4:], _mean_square(fine)
    # Cells whose slopes are not read, and the number of these whose products are read.
    spared, near = _spared(rim, WIDE_20)
    some = tuple(cropped(x, 3 * (spared - near)) for x in parts)
    means = torch.cat(
        [
            pooled(moments(*(x[..., rows, :] for x in some)), 3)
            for rows in strips(some[0], _PRODUCTS, of=3)
        ],
        dim=-2,
    )
    wide = split(_smooth_within(means, WIDE_20, near), 4, b)
    slopes = believed_slopes(wide, _IN_WIDE_20, _DOUBT_WIDE, _STAKE_WIDE)
    slopes = enlarged(slopes.flatten(1, 2), 3, "linear").unflatten(1, (4, b))
    slopes, share = _refined(parts, cropped(slopes, rim - 3 * spared), _RIDGE[plane], rim)
    high, fine = cropped(high, rim), cropped(fine, rim)[:, :, None]
    terms = slopes[:, :, :, None] * fine
    own = phases_of(cropped(y, rim), 2, shifts=sight.shifts20[at])
    return Plane(
        guides,
        pooled(parts[1].square(), 3),
        high[:, 4:],
        fine,
        terms,
        slopes * high[:, :4, None],
        own.add_(added_up(terms)).flatten(1, 2),
        share,
    )


def _spared(rim: int, kernel: Tensor) -> tuple[int, int]:
    """Return the cells on every side whose slopes are not read if ``rim`` pixels of 20 m are left out (interpolation
    reads one cell more), and the number of these that ``kernel`` still reads.
    """
    spared = max(0, rim // 3 - 1)
    return spared, min(spared, kernel.numel() // 2)


def _smooth_within(x: Tensor, kernel: Tensor, near: int) -> Tensor:
    """Filter like :func:`smooth`, with ``near`` real pixels on every side; the others are replicated."""
    return filtered(F.pad(x, [kernel.numel() // 2 - near] * 4, mode="replicate"), kernel)


def _mean_square(fine: Tensor) -> Tensor:
    """Return the mean square over the phases: (n, c, 4, h, w) → (n, c, h, w)."""
    return torch.cat([fine[..., rows, :].square().mean(dim=2) for rows in strips(fine)], dim=-2)


def _refined(
    parts: tuple[Tensor, ...], wide: Tensor, ridge: float, rim: int
) -> tuple[Tensor, Tensor]:
    """Return slopes (n, 4, B, h, w) from ``wide`` slopes and a narrow neighbourhood, and the energy share explained."""
    half = NARROW.numel() // 2
    # Real pixels on every side as far as the rim has them; the others are replicated.
    there = min(rim, half)
    parts = tuple(
        F.pad(cropped(x, rim - there), [half - there] * 4, mode="replicate") for x in parts
    )
    found = []
    for rows in strips(wide, _PRODUCTS):
        some = (x[..., rows.start : rows.stop + 2 * half, :] for x in parts)
        narrow = split(filtered(moments(*some), NARROW), 4, wide.shape[2])
        slopes, explained = refined_slopes(
            narrow, wide[..., rows, :], _IN_NARROW, _DOUBT_NARROW, ridge, _STAKE_NARROW
        )
        found.append((slopes, (explained / (narrow.energy + _NOTHING)).clamp_(0, 1)))
    slopes, share = (torch.cat(each, dim=-2) for each in zip(*found, strict=True))
    return slopes, share


@dataclass(frozen=True)
class OwnDetail:
    """Detail of the 20 m bands that no guide shows, as far as it exceeds noise and errors of the kernel.

    ``weight`` (n, 6, h, w): its Wiener weight; ``unseen`` (n, 6, h, w): the weighted difference between bands and
    degraded regression; ``sure`` (n, 6, h, w): evidence of any detail, of the band or of the guides, from 0 to 1;
    ``doubt``: see :class:`~s2sharp_core.networks.s2net.Detail`.
    """

    weight: Tensor
    unseen: Tensor
    sure: Tensor
    doubt: Tensor

    def within(self, rim: int) -> "OwnDetail":
        parts = (self.weight, self.unseen, self.sure, self.doubt)
        return OwnDetail(*(cropped(x, rim) for x in parts))


def own_detail(y20: Tensor, planes: list[Plane], sight: NetSensor) -> OwnDetail:
    """Weight the difference between the bands and the degraded result of the regression."""
    errors = (e for e, bands in zip(_KERNEL_ERROR, PLANES, strict=True) for _ in bands)
    noise, error = (constant(values, y20)[None, :, None, None] for values in (sight.noise, errors))
    picture = torch.cat([plane.picture for plane in planes], dim=1)
    high = torch.cat([plane.high for plane in planes], dim=1)
    unseen = y20 - seen(picture.unflatten(1, (6, 4)), BY_GSD[20], sight.sensor)
    halves = in_halves(unseen)
    energy = smooth(torch.cat([in_halves(high), halves], dim=1).square(), NARROW)
    noisy = torch.cat([_NOISY * share * noise**2 for share in _SHARES], dim=1)
    doubt = noisy + torch.cat([error, error], dim=1) * energy[:, :12]
    weights = wiener(energy[:, 12:], doubt)
    weight = torch.maximum(weights[:, :6], weights[:, 6:])
    weighed = halves * weights
    share = torch.cat([plane.share for plane in planes], dim=1)
    sure = share + (1 - share) * weight
    return OwnDetail(weight, weighed[:, :6] + weighed[:, 6:], sure, doubt)


@dataclass(frozen=True)
class _Far:
    """Local regression of the 60 m bands (2) on the ten finer ones, on the 20 m grid.

    Fields are those of :class:`~s2sharp_core.networks.s2net.Detail`, but ``read`` is in reflectance, and ``energy``
    (n, 2, h, w) is that of the bands' detail on the 60 m grid of the whole window.
    """

    read: Sequence[tuple[Tensor, ...]]
    picture: Tensor
    energy: Tensor
    sure: Tensor


def transfer_detail_60m(
    y20: Tensor,
    y60: Tensor,
    planes: list[Plane],
    sight: NetSensor,
    rim: int,
    known: Tensor | None = None,
) -> _Far:
    """Transfer the detail of all finer bands to the 60 m bands, at 20 m and beyond.

    ``rim``: pixels of 20 m on every side that the result leaves out, the same as in ``planes``; ``known`` (n, 1, h, w): 0 in
    cells where a gap was filled. These repeat noise, which ten slopes from few cells would take for evidence.
    """
    guides = _aligned(planes[0].seen, sight.common[:1] * 4)
    at20 = torch.cat([guides, _aligned(y20, sight.shifts20)], dim=1)
    p60 = degrade(at20, ("B01",) * 10, 3, sight.onward).contiguous()
    both = torch.cat([p60, _aligned(y60, sight.shifts60)], dim=1)
    high = both - smooth(both, TRIANGLE)
    middle = at20 - enlarged(p60, 3)
    products = moments(high[:, :10], high[:, 10:], pooled(middle.square(), 3))
    scarce = None
    if known is not None:
        products = products * known
        # Exactly 1 where all cells have data, so that a gap elsewhere changes nothing.
        scarce = smooth(torch.ones_like(known), WIDE_60) / smooth(known, WIDE_60).clamp_min(_FEWEST)
    wide = smooth(products, WIDE_60)
    found = []
    for rows in strips(wide, _UNKNOWNS):
        some = split(wide[..., rows, :], 10, 2)
        fewer = None if scarce is None else scarce[..., rows, :]
        found.append(believed_slopes(some, _IN_WIDE_60, _DOUBT_WIDE, _STAKE_WIDE, fewer))
    slopes = torch.cat(found, dim=-2)
    whole = split(wide, 10, 2)
    share = (whole.explained(slopes) / (whole.energy + _NOTHING)).clamp(0, 1)
    slopes = torch.cat([slopes.flatten(1, 2), share, high[:, 10:]], dim=1)
    spared, _ = _spared(rim, WIDE_60)
    slopes = enlarged(cropped(slopes, spared), 3, "linear")
    slopes = cropped(slopes, rim - 3 * spared)
    slopes, sure, coarse = slopes.split([20, 2, 2], dim=1)
    slopes = slopes.unflatten(1, (10, 2))
    middle = cropped(middle, rim)
    near = added_up(slopes * middle[:, :, None])
    far10 = slopes[:, :4, :, None] * planes[0].fine
    carried = torch.cat([plane.carried for plane in planes], dim=1)
    far = added_up(far10) + added_up(slopes[:, 4:, :, None] * carried[:, :, None])
    own = enlarged(y60, 3, shifts=sight.shifts60)
    picture = (phases_of(cropped(own, rim) + near, 2) + far).flatten(1, 2)
    single = torch.stack([near, coarse, torch.zeros_like(near)], dim=2)
    read = [(far10[:, :, b], far[:, b], single[:, b]) for b in range(2)]
    return _Far(read, picture, high[:, 10:].square(), sure)
