"""s2net: local regression for what follows from the fine bands, a small network for the rest.

Everything but the last step lies on the 20 m grid, where a 10 m picture has four phases a band (pixel-unshuffle):

1. *Local regression.* The detail of every coarse band is regressed on that of the finer bands, seen through the same
   kernel, and theirs carried over as far as the coarse band shows it (:mod:`s2sharp_core.networks.regression`). Nothing is
   learned, so nothing is tied to the scenes that a net was trained on.
2. *Network.* A small residual net corrects that, the same one for every band of a GSD: it reads what each finer band
   contributes, in units of the band's local amplitude, and knows nothing of spectra. A gain or an offset of any
   band (another product level, another atmosphere) passes through it. Where neither the finer bands nor the band
   itself gives evidence of detail, its correction fades out, and interpolation is left.
3. *Projection* (20 m). The satellite's view of the result is brought to what it saw, ``x + U h w (y - A x)``: U
   interpolation and h a short filter, the inverse of A U as a truncated Neumann series, which iterated back-projection
   (Irani and Peleg, CVGIP 53, 1991) amounts to on a grid. The weights w, of the coarse and of the fine half of the
   octave, are Wiener's: noise and errors of the sensor's kernel are not brought back as detail.

4. *Range.* No pixel lies further outside the range of what was seen around it than that range is wide.

Every operation is local: the halo is the sum of their reaches, with bands off by up to one pixel of their own.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.observation import (
    LARGEST_SHIFT,
    SENTINEL2,
    Response,
    Sensor,
    degrade,
    psf,
    upsample,
    upsample_phases,
)
from .arithmetic import Arithmetic, arithmetic
from .kinds import known_as
from .regression import Moments, believed_slopes, moments, refined_slopes, smooth, split

__all__ = ["PLANES", "Detail", "S2Net"]

PLANES = (BY_GSD[20][:4], BY_GSD[20][4:])
"""Bands of one focal plane, which one kernel serves to look at the guides through."""

_TRIANGLE = torch.tensor([0.25, 0.5, 0.25])


def _gaussian(sigma: float, half: int) -> Tensor:
    k = torch.exp(-0.5 * (torch.arange(-half, half + 1.0) / sigma) ** 2)
    return k / k.sum()


# Narrow neighbourhood, in coarse pixels, and wide ones, in cells of 60 m.
_NARROW, _WIDE_20, _WIDE_60 = _gaussian(1.5, 2), _gaussian(1.33, 3), _gaussian(2.5, 5)
# Independent pixels in each, about.
_IN_NARROW, _IN_WIDE_20, _IN_WIDE_60 = 16.0, 100.0, 60.0
# Doubt in wide slopes and in their changes, in units of what chance explains; ridge of a change; and what of a
# predictor's detail beyond the coarse grid stands beside its variance.
_DOUBT_WIDE, _DOUBT_NARROW, _STAKE_WIDE, _STAKE_NARROW = 3.0, 3.0, 0.1, 0.01
# Ridge of a change by focal plane: the red edge follows the guides so well that noise is what changes of slopes carry.
_RIDGE = (0.5, 0.05)
# Amplitudes are not taken smaller than this, reflectance: the noise of a band.
_NOISE = 5e-4
# Energy that counts as none, reflectance².
_NOTHING = 1e-12
# Terms of the Neumann series: as many iterations of back-projection. Taps of h on each side.
_TERMS, _REACH = 4, 3
# White noise's share in the coarse half of a band's octave, and in the fine half.
_SHARES = (
    float(_TRIANGLE.square().sum()) ** 2,
    float(1 - 2 * 0.25 + _TRIANGLE.square().sum() ** 2),
)
# Noise's variance is taken for so many times what was measured; errors of the kernel leave such a share of a band's
# detail, by focal plane: the short-wave infrared follows the guides least, so that what is left of it is its own.
_NOISY, _KERNEL_ERROR = 1.75, (0.15, 0.0)
# Numbers that the network reads of a band.
_READS = 23
# Pixels of a band around, whose range holds the result.
_AROUND = 2
Interval = tuple[int, int]
Shift = tuple[float, float]


@dataclass(frozen=True)
class Detail:
    """What local regression gives, on the 20 m grid, where a 10 m band has four phases.

    Attributes
    ----------
    inputs
        Of each band (n, 23, 3h, 3w): what the network reads of it, in units of its amplitude.
    picture
        (n, 8·4, 3h, 3w): the six bands of 20 m and the two of 60 m at 10 m, reflectance.
    amplitude
        (n, 8, 3h, 3w): of each of these bands, reflectance; less where there is no evidence of detail.
    doubt
        (n, 12, 3h, 3w): energy of the residual of each 20 m band that noise and kernel explain, in the coarse half of
        its octave and in the fine one, reflectance².
    """

    inputs: tuple[Tensor, ...]
    picture: Tensor
    amplitude: Tensor
    doubt: Tensor


@dataclass(frozen=True)
class _Sight:
    """How the bands of a product were seen, as the steps of the net need it.

    ``guides``: of each focal plane, the sensor through which 10 m bands (played by B02) look like its bands, as far off as
    they lie on the mean, ``common``; ``rest20``: how far each 20 m band is off that; ``onward``: from the 20 m grid to 60 m
    (played by B01).
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
    def of(cls, sensor: Sensor) -> "_Sight":
        common = tuple(_mean(sensor.shifts(bands)) for bands in PLANES)
        guides = tuple(
            replace(_typical("B02", bands, sensor), dy=dy, dx=dx)
            for bands, (dy, dx) in zip(PLANES, common, strict=True)
        )
        rest20 = tuple(
            (dy - of[0], dx - of[1])
            for bands, of in zip(PLANES, common, strict=True)
            for dy, dx in sensor.shifts(bands)
        )
        near, far = guides[0], _typical("B01", BY_GSD[60], sensor)
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


def _mean(shifts: Collection[Shift]) -> Shift:
    ys, xs = zip(*shifts, strict=True)
    return sum(ys) / len(ys), sum(xs) / len(xs)


def _typical(name: str, bands: Collection[str], sensor: Sensor) -> Response:
    """The mean response of ``bands`` under another name, in place."""
    each = [sensor.response(band) for band in bands]
    blur = sum(r.blur for r in each) / len(each)
    return Response(name, blur, sum(r.edge for r in each) / len(each))


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _back_filters(sensor: Sensor) -> Tensor:
    """H of each 20 m band: the sum of (1 - A U)ⁱ, i < ``_TERMS``, cut to 2·``_REACH`` + 1 taps: float64 (6, taps).

    A U, interpolation seen again, is a separable filter on the coarse grid; the series is taken along each axis.
    """
    bands, half = BY_GSD[20], 8
    in_place = Sensor(responses=tuple(_typical(band, (band,), sensor) for band in bands))
    impulse = torch.zeros(1, len(bands), 1 + 4 * half, 1 + 4 * half, dtype=torch.float64)
    impulse[..., 2 * half, 2 * half] = 1
    seen = degrade(upsample(impulse, 2), bands, 2, in_place)[0, :, half:-half, half:-half]
    # Each of sum 1, so that the sum over one axis is the filter along the other.
    once = seen.sum(dim=2)
    once = once / once.sum(dim=1, keepdim=True)
    middle = once.shape[1] // 2
    term = torch.zeros_like(once)
    term[:, middle] = 1
    total, rest = torch.zeros_like(once), term - once
    for _ in range(_TERMS):
        total = total + term
        term = F.conv1d(term[None], rest.flip(1)[:, None], padding=middle, groups=len(bands))[0]
    cut = total[:, middle - _REACH : middle + _REACH + 1]
    return cut / cut.sum(dim=1, keepdim=True)


def _halves(x: Tensor) -> Tensor:
    """The coarse half of an octave, then the fine one: (n, c, h, w) → (n, 2c, h, w)."""
    coarse = smooth(x, _TRIANGLE)
    return torch.cat([coarse, x - coarse], dim=1)


def _weights(energy: Tensor, doubt: Tensor) -> Tensor:
    """Wiener's weights of what has so much energy, of which so much is doubtful."""
    return (energy - doubt).clamp_min(0) / (energy + _NOTHING)


def _amplitude(energy: Tensor) -> Tensor:
    """Root of the mean energy of detail, (n, bands, h, w) on the 60 m grid → the 20 m grid."""
    mean = smooth(energy, _TRIANGLE)
    return upsample((mean + _NOISE**2).sqrt(), 3, "linear").contiguous()


class _Corrector(nn.Module):
    """(n, 23, h, w) → (n, 4, h, w): the four phases of one band."""

    def __init__(self, features: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(_READS, features, 3, padding=1, bias=False)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(features, features, 1, bias=False),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv2d(features, 4, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x).relu_()
        for block in self.body:
            x = block(x).add_(x)
        return self.tail(x)


@known_as("s2net")
class S2Net(nn.Module):
    """All coarse bands at 10 m in one pass.

    Parameters
    ----------
    features, blocks
        Width and number of the residual blocks (3 × 3 and 1 × 1, without biases, on the 20 m grid) of the
        network for the 20 m bands and of that for the 60 m bands.
    """

    arithmetic: Arithmetic = "float32"
    narrow = True
    leaves_halo = True
    results = 2
    bands: tuple[str, ...] = BY_GSD[20] + BY_GSD[60]
    reads: tuple[str, ...] = BY_GSD[10] + BY_GSD[20] + BY_GSD[60]
    sensor: Sensor = SENTINEL2

    def __init__(self, features: int = 48, blocks: int = 4) -> None:
        super().__init__()
        self.config = {"features": features, "blocks": blocks}
        self.blocks = blocks
        self.of20 = _Corrector(features, blocks)
        self.of60 = _Corrector(features, blocks)

    def restrict(self, bands: Collection[str]) -> None:
        """Leave the 60 m bands out, of what is read, too, where none of them is wanted."""
        if not set(bands) & set(BY_GSD[60]):
            self.bands, self.reads = BY_GSD[20], BY_GSD[10] + BY_GSD[20]

    def see_with(self, sensor: Sensor) -> None:
        """Sharpen products that were seen with ``sensor``."""
        self.sensor = sensor

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """By GSD: pixels of that grid read before and after a cell, along each axis, by a band off by a pixel.

        From the last step back to the first; intervals are pixels of the grid named, counted from the cell's first.
        """
        off, blur = math.ceil(LARGEST_SHIFT), _blur()
        corrected = self._corrected
        unseen = _wider(corrected, 1 + 2)
        slopes = _halved(_seen_from(unseen, 2, blur))
        wide = _wider(_interpolated_from(slopes, 3, "linear"), len(_WIDE_20) // 2)
        products = _union(_seen_from(wide, 3, 0), _wider(slopes, 2))
        energy = _seen_from(_wider(_interpolated_from(corrected, 3, "linear"), 1), 3, 0)
        seen20 = _wider(_union(products, energy), 1)
        # 60 m bands, which are not projected.
        at60 = _interpolated_from(_wider((0, 2), 2 + self.blocks), 3, "linear")
        at60 = _wider(at60, len(_WIDE_60) // 2 + 1)
        if self._sharpens_60:
            onward = (psf("B01", 3).numel() - 3) // 2
            seen20 = _union(seen20, _seen_from(at60, 3, onward))
        at20 = _wider(seen20, 2 + off)
        at10 = _seen_from(at20, 2, (psf("B02", 2).numel() - 2) // 2 + 2 * off)
        reach = {10: (-at10[0], at10[1] - 5), 20: (-at20[0], at20[1] - 2)}
        if self._sharpens_60:
            at60 = _wider(at60, 2 + off)
            reach[60] = (-at60[0], at60[1])
        return reach

    @property
    def _corrected(self) -> Interval:
        """Pixels of 20 m that the network reads for a cell: by the projection, and by its own layers."""
        off = math.ceil(LARGEST_SHIFT)
        rest = _wider(_interpolated_from((0, 5), 2, "cubic"), _REACH + 1 + 2 + off)
        return _wider(_halved(_seen_from(rest, 2, _blur())), 2 + self.blocks)

    @property
    def _margin(self) -> int:
        """Cells around a cell that the network reads."""
        first, last = self._corrected
        return max(-(first // 3), (last - 2 + 2) // 3)

    @property
    def _sharpens_60(self) -> bool:
        return len(self.bands) > len(BY_GSD[20])

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per 10 m pixel of the convolutions and of the regressions."""
        each = [
            sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d))
            for net in (self.of20, self.of60)
        ]
        # On the 20 m grid: products, their windows, the slopes' elimination and use; for 60 m, a ninth of it.
        regression = 66 * (1 + 10) + 6 * 60 + (66 * 14 + 6 * 60 + 95 * 24 + 1600) / 9 + 2 * 40
        blurs = (12 + 12 + 2 * _REACH + 1) * 6 + 36 * (8 + 6 + 6 + 2) + 12 * 10 + 9 * 30
        return math.ceil((6 * each[0] + 2 * each[1] + regression + blurs) / 4)

    def detail(self, y10: Tensor, y20: Tensor, y60: Tensor, rim: int = 0) -> Detail:
        """Local regression: reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → what is to be corrected.

        ``rim``: cells on every side that are not returned.
        """
        sight = _Sight.of(self.sensor)
        last = torch.channels_last
        y10, y20, y60 = (y.contiguous(memory_format=last) for y in (y10, y20, y60))
        # What the last steps alone need is left out on the rim as soon as nothing else reads it.
        early, late = 3 * max(0, rim - _evidence_reach()), 3 * min(rim, _evidence_reach())
        planes = [_carried(y10, y20, i, sight, early) for i in range(len(PLANES))]
        own = _evidence(_within(y20, early), planes, sight).within(late)
        planes = [plane.within(late) for plane in planes]
        energy, sure = [plane.energy for plane in planes], [own.sure]
        pictures, far = [plane.picture for plane in planes], None
        if self._sharpens_60:
            far = _carried_far(y20, y60, planes, sight, 3 * rim)
            energy, sure = [*energy, far.energy], [*sure, far.sure]
            pictures = [*pictures, far.picture]
        amplitude = _within(_amplitude(torch.cat(energy, dim=1)), 3 * rim)
        read = [*_read(planes[0], own, 0), *_read(planes[1], own, len(PLANES[0]))]
        read += far.read if far else []
        return Detail(
            tuple(x / amplitude[:, i, None] for i, x in enumerate(read)),
            torch.cat(pictures, dim=1),
            amplitude * torch.cat(sure, dim=1),
            own.doubt,
        )

    def correction(self, inputs: Iterable[Tensor]) -> Tensor:
        """The networks: of each band (n, 23, 3h, 3w) → (n, 8·4, 3h, 3w), in units of the amplitudes."""
        out = []
        # A band at a time: what it passes through fits caches, and needs no fresh pages.
        for i, band in enumerate(inputs):
            net = self.of20 if i < len(BY_GSD[20]) else self.of60
            with arithmetic(self.arithmetic, band.device):
                out.append(net(band.contiguous(memory_format=torch.channels_last)))
        return torch.cat(out, dim=1)

    def finished(self, detail: Detail, correction: Tensor, y20: Tensor) -> Tensor:
        """The corrected picture, the 20 m bands brought to what was seen: reflectance (n, 8, 6h, 6w)."""
        x = detail.picture + detail.amplitude.repeat_interleave(4, dim=1) * correction.float()
        x = F.pixel_shuffle(x, 2)
        return torch.cat([self._projected(x[:, :6], y20, detail.doubt), x[:, 6:]], dim=1)

    def _projected(self, x: Tensor, y: Tensor, doubt: Tensor) -> Tensor:
        """Bring the 20 m bands ``x`` (n, 6, 6h, 6w) to what was seen of them, ``y`` (n, 6, 3h, 3w)."""
        sight = _Sight.of(self.sensor)
        rest = _halves(y - degrade(x, BY_GSD[20], 2, self.sensor))
        rest = rest * _weights(smooth(rest.square(), _NARROW), doubt)
        rest = rest[:, :6] + rest[:, 6:]
        h = _back_filters(self.sensor).to(x)
        rest = F.pad(
            rest.contiguous(memory_format=torch.channels_last), [_REACH] * 4, mode="replicate"
        )
        rest = F.conv2d(rest, h[:, None, :, None], groups=6)
        rest = F.conv2d(rest, h[:, None, None, :], groups=6)
        return x + upsample(rest, 2, shifts=sight.shifts20)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor, halo: int = 0) -> Tensor:
        """Sharpen windows.

        Parameters
        ----------
        y10, y20, y60
            Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w).
        halo
            Cells on every side whose result nobody needs: 0 there, and the time for them is saved.

        Returns
        -------
        Tensor
            (n, 8, 6h, 6w), 20 m bands first.
        """
        rim = max(0, halo - self._margin)
        detail = self.detail(y10, y20, y60, rim)
        y20, y60 = _within(y20, 3 * rim), _within(y60, rim)
        x = self.finished(detail, self.correction(detail.inputs), y20)
        held = (
            [_held(x[:, :6], y20), _held(x[:, 6:], y60)] if self._sharpens_60 else [_held(x, y20)]
        )
        return F.pad(torch.cat(held, dim=1), [6 * rim] * 4)


def _held(x: Tensor, y: Tensor) -> Tensor:
    """Bring pixels of ``x`` (n, bands, 6h, 6w) back that lie where nothing that was seen around them, ``y``, points.

    Two pixels of the band around, its range lies between the lowest and the highest of them. No pixel lies further outside
    than that range is wide, nor below 0 where none of them does: a defect, a flare or a cloud that is clipped contradicts
    the sensor's kernel, whose inverse would answer with rings.
    """
    ratio = x.shape[-1] // y.shape[-1]
    high = F.max_pool2d(y, 2 * _AROUND + 1, 1, _AROUND)
    low = -F.max_pool2d(-y, 2 * _AROUND + 1, 1, _AROUND)
    room = high - low
    ends = torch.cat([torch.maximum(low - room, low.clamp_max(0)), high + room], dim=1)
    low, high = F.interpolate(ends, scale_factor=ratio, mode="nearest").chunk(2, dim=1)
    return torch.minimum(torch.maximum(x, low), high)


def _within(x: Tensor, rim: int) -> Tensor:
    """Leave ``rim`` pixels on every side out."""
    return x[..., rim : x.shape[-2] - rim, rim : x.shape[-1] - rim] if rim else x


@dataclass(frozen=True)
class _Plane:
    """Local regression of the 20 m bands (B) of one focal plane on the 10 m bands (4).

    On the whole window: ``seen`` (n, 4, h, w), the guides on the 20 m grid; ``energy`` (n, B, h/3, w/3), of the bands'
    detail. On what is left of it: ``high`` (n, B, h, w), the bands' detail; ``fine`` (n, 4, 1, 4, h, w), what the guides
    have beyond the 20 m grid, in phases; ``terms`` (n, 4, B, 4, h, w) and ``low_terms`` (n, 4, B, h, w), what each guide
    contributes beyond the grid and on it; ``picture`` (n, B·4, h, w); ``share`` (n, B, h, w) of the bands' energy that is
    explained.
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
        return self.terms.sum(dim=1)

    def within(self, rim: int) -> "_Plane":
        parts = (self.high, self.fine, self.terms, self.low_terms, self.picture, self.share)
        return _Plane(self.seen, self.energy, *(_within(x, rim) for x in parts))


def _aligned(y: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
    """Coarse bands moved to where they belong, on their own grid; as they are where none is off."""
    return upsample(y, 1, shifts=shifts) if any(map(any, shifts)) else y


def _carried(y10: Tensor, y20: Tensor, plane: int, sight: _Sight, rim: int) -> _Plane:
    """Regress the bands of one focal plane on the guides, in a wide neighbourhood and in a narrow one.

    ``rim``: pixels on every side that are left out of what is carried over.
    """
    bands = PLANES[plane]
    at = slice(BY_GSD[20].index(bands[0]), BY_GSD[20].index(bands[-1]) + 1)
    y, b = y20[:, at], len(bands)
    # The guides are looked at where the bands lie on the mean, so that what both show is resampled in the same way.
    seen = degrade(y10, ("B02",) * 4, 2, sight.guides[plane])
    both = torch.cat([seen, _aligned(y, sight.rest20[at])], dim=1)
    high = (both - smooth(both, _TRIANGLE)).contiguous()
    common = (sight.common[plane],) * 4
    fine = (F.pixel_unshuffle(y10, 2) - upsample_phases(seen, 2, shifts=common)).contiguous()
    fine = fine.unflatten(1, (4, 1, 4))
    products = moments(high[:, :4], high[:, 4:], fine.square().mean(dim=3)[:, :, 0])
    products = products.contiguous(memory_format=torch.channels_last)
    wide = split(smooth(F.avg_pool2d(products, 3), _WIDE_20), 4, b)
    slopes = believed_slopes(wide, _IN_WIDE_20, _DOUBT_WIDE, _STAKE_WIDE)
    slopes = upsample(slopes.flatten(1, 2), 3, "linear").contiguous().unflatten(1, (4, b))
    slopes = _within(slopes, rim)
    narrow = split(_within(smooth(products, _NARROW), rim), 4, b)
    slopes = refined_slopes(narrow, slopes, _IN_NARROW, _DOUBT_NARROW, _RIDGE[plane], _STAKE_NARROW)
    energy = F.avg_pool2d(high[:, 4:].square(), 3)
    high, fine = _within(high, rim), _within(fine, rim)
    terms = slopes[:, :, :, None] * fine
    own = _within(upsample_phases(y, 2, shifts=sight.shifts20[at]), rim)
    return _Plane(
        seen,
        energy,
        high[:, 4:],
        fine,
        terms,
        slopes * high[:, :4, None],
        own + terms.sum(dim=1).flatten(1, 2),
        _explained(narrow, slopes),
    )


def _explained(of: Moments, slopes: Tensor) -> Tensor:
    """Share of the bands' energy that slopes explain: (n, B, h, w)."""
    return (of.explained(slopes) / (of.energy + _NOTHING)).clamp(0, 1)


@dataclass(frozen=True)
class _Own:
    """Detail of the 20 m bands that is their own, as far as it is more than noise and errors of the kernel.

    ``weight`` (n, 6, h, w) of it; ``unseen`` (n, 6, h, w): what the regression's picture lacks, weighed; ``sure`` (n, 6, h,
    w): evidence of any detail, theirs or the guides', from 0 to 1; ``doubt``: as in :class:`Detail`.
    """

    weight: Tensor
    unseen: Tensor
    sure: Tensor
    doubt: Tensor

    def within(self, rim: int) -> "_Own":
        parts = (self.weight, self.unseen, self.sure, self.doubt)
        return _Own(*(_within(x, rim) for x in parts))


def _evidence(y20: Tensor, planes: list[_Plane], sight: _Sight) -> _Own:
    """Weigh what the bands have that the regression's picture, seen again, lacks."""
    noise = torch.tensor(sight.noise).to(y20)[None, :, None, None] ** 2
    error = torch.tensor(
        [e for e, bands in zip(_KERNEL_ERROR, PLANES, strict=True) for _ in bands]
    ).to(y20)[None, :, None, None]
    picture = torch.cat([plane.picture for plane in planes], dim=1)
    high = torch.cat([plane.high for plane in planes], dim=1)
    unseen = y20 - degrade(F.pixel_shuffle(picture, 2), BY_GSD[20], 2, sight.sensor)
    halves = _halves(unseen)
    energy = smooth(torch.cat([_halves(high), halves], dim=1).square(), _NARROW)
    noisy = torch.cat([_NOISY * share * noise for share in _SHARES], dim=1)
    doubt = noisy + torch.cat([error, error], dim=1) * energy[:, :12]
    weights = _weights(energy[:, 12:], doubt)
    weight = torch.maximum(weights[:, :6], weights[:, 6:])
    weighed = halves * weights
    share = torch.cat([plane.share for plane in planes], dim=1)
    sure = share + (1 - share) * weight
    return _Own(weight, weighed[:, :6] + weighed[:, 6:], sure, doubt)


def _read(plane: _Plane, own: _Own, first: int) -> list[Tensor]:
    """What the network reads of each band of a focal plane, whose first is the ``first`` of the 20 m bands."""
    told = plane.low_terms.sum(dim=1)
    at = slice(first, first + told.shape[1])
    rest = own.weight[:, at] * (plane.high - told)
    single = torch.stack([told + rest, rest, own.unseen[:, at]], dim=2)
    return [
        torch.cat(
            [plane.terms[:, :, b].flatten(1, 2), plane.low_terms[:, :, b], single[:, b]], dim=1
        )
        for b in range(told.shape[1])
    ]


@dataclass(frozen=True)
class _Far:
    """Local regression of the 60 m bands (2) on the ten finer ones, on the 20 m grid; as :class:`Detail`, but ``read``
    in reflectance, and ``energy`` (n, 2, h, w) of their detail on the 60 m grid of the whole window.
    """

    read: list[Tensor]
    picture: Tensor
    energy: Tensor
    sure: Tensor


def _carried_far(y20: Tensor, y60: Tensor, planes: list[_Plane], sight: _Sight, rim: int) -> _Far:
    """Carry over to the 60 m bands what all finer bands show at 20 m, and what they have beyond.

    ``rim``: pixels of 20 m on every side that are left out, as they are of ``planes``.
    """
    seen = _aligned(planes[0].seen, sight.common[:1] * 4)
    at20 = torch.cat([seen, _aligned(y20, sight.shifts20)], dim=1)
    p60 = degrade(at20, ("B01",) * 10, 3, sight.onward)
    both = torch.cat([p60, _aligned(y60, sight.shifts60)], dim=1)
    high = both - smooth(both, _TRIANGLE)
    middle = (at20 - upsample(p60, 3)).contiguous()
    products = moments(high[:, :10], high[:, 10:], F.avg_pool2d(middle.square(), 3))
    wide = split(smooth(products.contiguous(memory_format=torch.channels_last), _WIDE_60), 10, 2)
    slopes = believed_slopes(wide, _IN_WIDE_60, _DOUBT_WIDE, _STAKE_WIDE)
    sure = _within(upsample(_explained(wide, slopes), 3, "linear"), rim)
    slopes = _within(upsample(slopes.flatten(1, 2), 3, "linear"), rim).contiguous()
    slopes = slopes.unflatten(1, (10, 2))
    middle = _within(middle, rim)
    near = (slopes * middle[:, :, None]).sum(dim=1)
    far10 = slopes[:, :4, :, None] * planes[0].fine
    carried = torch.cat([plane.carried for plane in planes], dim=1)
    far = far10.sum(dim=1) + (slopes[:, 4:, :, None] * carried[:, :, None]).sum(dim=1)
    own = upsample(y60, 3, shifts=sight.shifts60)
    picture = upsample_phases(_within(own, rim) + near, 2) + far.flatten(1, 2)
    coarse = _within(upsample(high[:, 10:], 3, "linear"), rim)
    single = torch.stack([near, coarse, torch.zeros_like(near)], dim=2)
    read = [
        torch.cat([far10[:, :, b].flatten(1, 2), far[:, b], single[:, b]], dim=1) for b in range(2)
    ]
    return _Far(read, picture, high[:, 10:].square(), sure)


def _evidence_reach() -> int:
    """Cells around a cell whose detail decides what it has of its own."""
    first, last = _halved(_seen_from(_wider((0, 2), len(_NARROW) // 2 + 1), 2, _blur()))
    return max(-(first // 3), (last - 2 + 2) // 3)


def _blur() -> int:
    """Pixels of 10 m that a 20 m pixel is blurred from on each side of its own, off by a pixel at most."""
    widest = max((psf(band, 2).numel() - 2) // 2 for band in BY_GSD[20])
    return widest + 2 * math.ceil(LARGEST_SHIFT)


def _wider(at: Interval, by: int) -> Interval:
    return at[0] - by, at[1] + by


def _union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _seen_from(coarse: Interval, ratio: int, margin: int) -> Interval:
    """The fine pixels that coarse ones are blurred from."""
    return coarse[0] * ratio - margin, (coarse[1] + 1) * ratio - 1 + margin


def _halved(at: Interval) -> Interval:
    """The 20 m pixels that hold 10 m pixels."""
    return at[0] // 2, at[1] // 2


def _interpolated_from(fine: Interval, ratio: int, kind: str) -> Interval:
    """The coarse pixels that fine ones are interpolated from."""
    support = {"linear": 1, "cubic": 2}[kind]
    # Twice the ratio times the positions: whole numbers. What lies at the support's end has no weight.
    first, last = (2 * at + 1 - ratio for at in fine)
    return first // (2 * ratio) - support + 1, -(-last // (2 * ratio)) + support - 1
