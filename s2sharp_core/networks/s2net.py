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
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.observation import LARGEST_SHIFT, SENTINEL2, Sensor, degrade, psf
from ..sensor.upsampling import upsample
from . import fused
from .arithmetic import Arithmetic, arithmetic
from .carrying import (
    NARROW,
    PLANES,
    TRIANGLE,
    WIDE_20,
    WIDE_60,
    Own,
    Plane,
    Sight,
    carry,
    carry_far,
    evidence,
    in_halves,
    typical,
    wiener,
)
from .kinds import known_as
from .planes import along, cropped, enlarged, phases_of, seen, smooth, strips
from .support import Interval, halved, interpolated_from, seen_from, union, wider

__all__ = ["Detail", "S2Net"]

# Amplitudes are not taken smaller than this, reflectance: the noise of a band.
_NOISE = 5e-4
# Terms of the Neumann series: as many iterations of back-projection. Taps of h on each side.
_TERMS, _REACH = 4, 3
# Numbers that the network reads of a band.
_READS = 23
# Pixels of a band around, whose range holds the result.
_AROUND = 2


@dataclass(frozen=True)
class Detail:
    """Result of local regression, on the 20 m grid, where a 10 m band has four phases.

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


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _back_filters(sensor: Sensor) -> Tensor:
    """H of each 20 m band: the sum of (1 - A U)ⁱ, i < ``_TERMS``, cut to 2·``_REACH`` + 1 taps: float64 (6, taps).

    A U, interpolation seen again, is a separable filter on the coarse grid; the series is taken along each axis.
    """
    bands, half = BY_GSD[20], 8
    in_place = Sensor(responses=tuple(typical(band, (band,), sensor) for band in bands))
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


def _amplitude(energy: Tensor) -> Tensor:
    """Root of the mean energy of detail, (n, bands, h, w) on the 60 m grid → the 20 m grid."""
    mean = smooth(energy, TRIANGLE)
    return enlarged((mean + _NOISE**2).sqrt(), 3, "linear")


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
        if fused.possible(x):
            return self._fused(x)
        x = self.head(x).relu_()
        for block in self.body:
            x = block(x).add_(x)
        return self.tail(x)

    def _fused(self, x: Tensor) -> Tensor:
        x = fused.cut_off(x, self.head)
        for block in self.body:
            wide, narrow = (part for part in block.children() if isinstance(part, nn.Conv2d))
            x = fused.added(fused.cut_off(x, wide), narrow, onto=x)
        return fused.plain(x, self.tail)


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
    is_told = True
    results = 4
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
        unseen = wider(corrected, 1 + 2)
        slopes = halved(seen_from(unseen, 2, blur))
        wide = wider(interpolated_from(slopes, 3, "linear"), len(WIDE_20) // 2)
        products = union(seen_from(wide, 3, 0), wider(slopes, 2))
        energy = seen_from(wider(interpolated_from(corrected, 3, "linear"), 1), 3, 0)
        seen20 = wider(union(products, energy), 1)
        # 60 m bands, which are not projected.
        at60 = interpolated_from(wider((0, 2), 2 + self.blocks), 3, "linear")
        at60 = wider(at60, len(WIDE_60) // 2 + 1)
        if self._sharpens_60:
            onward = (psf("B01", 3).numel() - 3) // 2
            seen20 = union(seen20, seen_from(at60, 3, onward))
        at20 = wider(seen20, 2 + off)
        at10 = seen_from(at20, 2, (psf("B02", 2).numel() - 2) // 2 + 2 * off)
        reach = {10: (-at10[0], at10[1] - 5), 20: (-at20[0], at20[1] - 2)}
        if self._sharpens_60:
            at60 = wider(at60, 2 + off)
            reach[60] = (-at60[0], at60[1])
        return reach

    @property
    def _corrected(self) -> Interval:
        """Pixels of 20 m that the network reads for a cell: by the projection, and by its own layers."""
        off = math.ceil(LARGEST_SHIFT)
        rest = wider(interpolated_from((0, 5), 2, "cubic"), _REACH + 1 + 2 + off)
        return wider(halved(seen_from(rest, 2, _blur())), 2 + self.blocks)

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

    def detail(
        self, y10: Tensor, y20: Tensor, y60: Tensor, rim: int = 0, known: Tensor | None = None
    ) -> Detail:
        """Local regression: reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → what is to be corrected.

        ``rim``: cells on every side that are not returned; ``known`` as of :meth:`forward`.
        """
        sight = Sight.of(self.sensor)
        y20, y60 = y20.contiguous(), y60.contiguous()
        y10 = F.pixel_unshuffle(y10.contiguous(), 2).unflatten(1, (4, 4))
        # Inputs of the last steps alone are left out on the rim as soon as nothing else reads them.
        early, late = 3 * max(0, rim - _evidence_reach()), 3 * min(rim, _evidence_reach())
        planes = [carry(y10, y20, i, sight, early) for i in range(len(PLANES))]
        own = evidence(cropped(y20, early), planes, sight).within(late)
        planes = [plane.within(late) for plane in planes]
        energy, sure = [plane.energy for plane in planes], [own.sure]
        pictures, far = [plane.picture for plane in planes], None
        if self._sharpens_60:
            far = carry_far(y20, y60, planes, sight, 3 * rim, known)
            energy, sure = [*energy, far.energy], [*sure, far.sure]
            pictures = [*pictures, far.picture]
        amplitude = cropped(_amplitude(torch.cat(energy, dim=1)), 3 * rim)
        read = [*_read(planes[0], own, 0), *_read(planes[1], own, len(PLANES[0]))]
        read += far.read if far else []
        return Detail(
            tuple(self._input(parts, amplitude[:, i, None]) for i, parts in enumerate(read)),
            torch.cat(pictures, dim=1),
            amplitude * torch.cat(sure, dim=1),
            own.doubt,
        )

    def _input(self, parts: Sequence[Tensor], amplitude: Tensor) -> Tensor:
        """What the network reads of a band, in units of its amplitude, as its convolutions take it."""
        n, _, *size = amplitude.shape
        out = torch.empty(
            (n, _READS, *size),
            dtype=torch.bfloat16 if self.arithmetic == "bfloat16" else amplitude.dtype,
            device=amplitude.device,
            memory_format=torch.channels_last,
        )
        for rows in strips(out):
            each = [part[..., rows, :].flatten(1, -3) for part in parts]
            out[..., rows, :] = torch.cat(each, dim=1) / amplitude[..., rows, :]
        return out

    def correction(self, inputs: Iterable[Tensor]) -> Tensor:
        """The networks: of each band (n, 23, 3h, 3w) → (n, 8·4, 3h, 3w), in units of the amplitudes."""
        out = []
        # A band at a time: what it passes through fits caches, and needs no fresh pages.
        for i, band in enumerate(inputs):
            net = self.of20 if i < len(BY_GSD[20]) else self.of60
            with arithmetic(self.arithmetic, band.device):
                # A plane each from here on: few, and small.
                out.append(net(band.contiguous(memory_format=torch.channels_last)).contiguous())
        return torch.cat(out, dim=1)

    def finished(self, detail: Detail, correction: Tensor, y20: Tensor) -> Tensor:
        """The corrected picture, the 20 m bands brought to what was seen: reflectance (n, 8, 6h, 6w)."""
        return F.pixel_shuffle(self._finished(detail, correction, y20).flatten(1, 2), 2)

    def _finished(self, detail: Detail, correction: Tensor, y20: Tensor) -> Tensor:
        """In phases: (n, 8, 4, 3h, 3w)."""
        picture, more = (x.unflatten(1, (-1, 4)) for x in (detail.picture, correction.float()))
        x = torch.addcmul(picture, detail.amplitude[:, :, None], more)
        return torch.cat([self._projected(x[:, :6], y20, detail.doubt), x[:, 6:]], dim=1)

    def _projected(self, x: Tensor, y: Tensor, doubt: Tensor) -> Tensor:
        """Bring the 20 m bands ``x`` (n, 6, 4, 3h, 3w) to what was seen of them, ``y`` (n, 6, 3h, 3w)."""
        rest = in_halves(y - seen(x, BY_GSD[20], self.sensor))
        rest = rest * wiener(smooth(rest.square(), NARROW), doubt)
        rest = F.pad(rest[:, :6] + rest[:, 6:], [_REACH] * 4, mode="replicate")
        taps = [*_back_filters(self.sensor).to(x).T[:, :, None, None]]
        rest = along(along(rest, taps, -2), taps, -1)
        return x + phases_of(rest, 2, shifts=Sight.of(self.sensor).shifts20)

    def forward(
        self, y10: Tensor, y20: Tensor, y60: Tensor, halo: int = 0, known: Tensor | None = None
    ) -> Tensor:
        """Sharpen windows.

        Parameters
        ----------
        y10, y20, y60
            Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w).
        halo
            Cells on every side whose result nobody needs: 0 there, and the time for them is saved.
        known
            (n, 1, h, w): 1 in cells that have data, 0 in those where a gap was closed, from which 60 m bands
            learn no slopes. None: all have.

        Returns
        -------
        Tensor
            (n, 8, 6h, 6w), 20 m bands first.
        """
        rim = max(0, halo - self._margin)
        detail = self.detail(y10, y20, y60, rim, known)
        y20, y60 = cropped(y20, 3 * rim), cropped(y60, rim)
        x = self._finished(detail, self.correction(detail.inputs), y20)
        held = [_held(x[:, :6], y20, 1)]
        if self._sharpens_60:
            held.append(_held(x[:, 6:], y60, 3))
        return F.pad(F.pixel_shuffle(torch.cat(held, dim=1).flatten(1, 2), 2), [6 * rim] * 4)


def _held(x: Tensor, y: Tensor, ratio: int) -> Tensor:
    """Hold ``x`` (n, bands, 4, 3h, 3w) to the range of what was seen, ``y``, around each pixel.

    The range goes from the lowest to the highest of the 5 × 5 pixels of the band. No pixel of a 20 m band lies further
    outside it than it is wide, of a 60 m band than nine times that, since of the contrast of a point of 10 m a 36th is left
    there in place of a quarter; nor below 0 where none of these pixels does. A defect, a flare or a clipped cloud contradicts
    the sensor's kernel, and its inverse would answer with rings.
    """
    low, high = _most_around(y, torch.minimum), _most_around(y, torch.maximum)
    room = ratio**2 * (high - low)
    low, high = torch.maximum(low - room, low.clamp_max(0)), high + room
    if ratio > 1:
        low, high = (F.interpolate(end, scale_factor=ratio, mode="nearest") for end in (low, high))
    return torch.minimum(torch.maximum(x, low[:, :, None]), high[:, :, None])


def _most_around(y: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The lowest or highest of the pixels around each: along one axis, then along the other."""
    y = F.pad(y, [_AROUND] * 4, mode="replicate")
    for dim in (-2, -1):
        n = y.shape[dim] - 2 * _AROUND
        y = reduce(pick, (y.narrow(dim, i, n) for i in range(2 * _AROUND + 1)))
    return y


def _read(plane: Plane, own: Own, first: int) -> list[tuple[Tensor, ...]]:
    """Return what the network reads of each band of a focal plane, whose first is the ``first`` of the 20 m bands."""
    told = plane.low_terms.sum(dim=1)
    at = slice(first, first + told.shape[1])
    rest = own.weight[:, at] * (plane.high - told)
    single = torch.stack([told + rest, rest, own.unseen[:, at]], dim=2)
    return [
        (plane.terms[:, :, b], plane.low_terms[:, :, b], single[:, b]) for b in range(told.shape[1])
    ]


def _evidence_reach() -> int:
    """Cells around a cell whose detail decides what it has of its own."""
    first, last = halved(seen_from(wider((0, 2), len(NARROW) // 2 + 1), 2, _blur()))
    return max(-(first // 3), (last - 2 + 2) // 3)


def _blur() -> int:
    """Pixels of 10 m that a 20 m pixel is blurred from on each side of its own, off by a pixel at most."""
    widest = max((psf(band, 2).numel() - 2) // 2 for band in BY_GSD[20])
    return widest + 2 * math.ceil(LARGEST_SHIFT)
