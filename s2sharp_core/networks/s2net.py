"""s2net: local regression for detail that the fine bands explain, and a small network for the rest.

Everything but the last step lies on the 20 m grid, where a 10 m picture has four phases a band (pixel-unshuffle):

1. *Local regression.* The detail of every coarse band is regressed on that of the finer bands, degraded with the same
   kernel. Fine detail is transferred as far as the coarse band shows it (:mod:`s2sharp_core.networks.regression`). Nothing
   is learned, so this step does not depend on training scenes.
2. *Network.* A small residual net corrects the result, the same one for every band of a GSD. It reads the contribution of
   each finer band in units of the band's local amplitude, and no spectra (docs/design.md says why). Where neither the
   finer bands nor the band itself gives evidence of detail, the correction fades out, and interpolation remains.
3. *Projection* (20 m). The result is made consistent with the observation, ``x + U h w (y - A x)``: U is interpolation
   and h a short filter, the inverse of A U as a truncated Neumann series. On a grid this equals iterated back-projection
   (Irani and Peleg, CVGIP 53, 1991). The weights w, for the coarse and for the fine half of the octave, are Wiener's, so
   that noise and errors of the sensor's kernel do not return as detail.
4. *Range.* Results are limited to a range around the observation (:func:`~s2sharp_core.networks.back_projection.limited`).

Every operation is local. The halo is the sum of their reaches, for bands shifted by up to one pixel of their own.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.observation import psf
from ..sensor.response import LARGEST_SHIFT, SENTINEL2, Sensor
from ..windows import JOINED
from .back_projection import BACK, around, blur, limited, projected, projected_from
from .corrector import READS, Corrector
from .detail_transfer import (
    NARROW,
    PLANES,
    TRIANGLE,
    WIDE_20,
    WIDE_60,
    NetSensor,
    OwnDetail,
    Plane,
    own_detail,
    transfer_detail,
    transfer_detail_60m,
)
from .int8 import rounded
from .kinds import convolved, known_as
from .planes import added_up, cropped, enlarged, smooth, strips
from .precision import Arithmetic, arithmetic
from .receptive_field import Interval, halved, interpolated_from, seen_from, union, wider

# Numbers that the convolutions take, where these are not those of the regression.
_TYPES = {"bfloat16": torch.bfloat16, "int8": torch.uint8}
# Amplitudes are not taken smaller than this, reflectance: the noise of a band.
_NOISE = 5e-4


@dataclass(frozen=True)
class Detail:
    """Result of local regression, on the 20 m grid, where a 10 m band has four phases.

    Attributes
    ----------
    inputs
        Input of the network for each band, (n, 23, 3h, 3w), in units of its amplitude.
    picture
        (n, 8·4, 3h, 3w): the six bands of 20 m and the two of 60 m at 10 m, reflectance.
    amplitude
        (n, 8, 3h, 3w): amplitude of each of these bands, reflectance; less where there is no evidence of detail.
    doubt
        (n, 12, 3h, 3w): energy of the residual of each 20 m band that noise and errors of the kernel explain, in the
        coarse half of its octave and in the fine one, reflectance².
    """

    inputs: tuple[Tensor, ...]
    picture: Tensor
    amplitude: Tensor
    doubt: Tensor


def _amplitude(energy: Tensor) -> Tensor:
    """Return the root of the mean energy of detail: (n, bands, h, w) on the 60 m grid → the 20 m grid."""
    mean = smooth(energy, TRIANGLE)
    return enlarged((mean + _NOISE**2).sqrt(), 3, "linear")


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
    results = 5
    bands: tuple[str, ...] = BY_GSD[20] + BY_GSD[60]
    reads: tuple[str, ...] = BY_GSD[10] + BY_GSD[20] + BY_GSD[60]
    sensor: Sensor = SENTINEL2

    def __init__(self, features: int = 48, blocks: int = 4) -> None:
        super().__init__()
        self.config = {"features": features, "blocks": blocks}
        self.blocks = blocks
        self.of20 = Corrector(features, blocks)
        self.of60 = Corrector(features, blocks)
        self._same: dict[tuple[Arithmetic, int], bool] = {}

    def restrict(self, bands: Collection[str]) -> None:
        """Neither read nor sharpen the 60 m bands if ``bands`` has none of them."""
        if not set(bands) & set(BY_GSD[60]):
            self.bands, self.reads = BY_GSD[20], BY_GSD[10] + BY_GSD[20]

    @property
    def ranged(self) -> bool:
        """Return whether it can compute in eight bits."""
        return self.of20.ranged and self.of60.ranged

    def learn_ranges(self, examples: Sequence[Sequence[Tensor]]) -> None:
        """Learn the ranges of the numbers that the networks make of examples: (23, 3h, 3w) of each band."""
        n = len(BY_GSD[20])
        self.of20.learn_ranges(band[None].float() for inputs in examples for band in inputs[:n])
        self.of60.learn_ranges(band[None].float() for inputs in examples for band in inputs[n:])

    def forget_ranges(self) -> None:
        """Forget them, of weights that change."""
        self.of20.forget_ranges()
        self.of60.forget_ranges()

    def see_with(self, sensor: Sensor) -> None:
        """Sharpen products of ``sensor`` from now on."""
        self.sensor = sensor

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid, for a band shifted by a pixel.

        Computed from the last step back to the first. Intervals count pixels of the grid named from the cell's first.
        """
        off = math.ceil(LARGEST_SHIFT)
        corrected = self._corrected
        unseen = wider(corrected, 1 + 2)
        slopes = halved(seen_from(unseen, 2, blur()))
        wide = wider(interpolated_from(slopes, 3, "linear"), len(WIDE_20) // 2)
        products = union(seen_from(wide, 3, 0), wider(slopes, 2))
        energy = seen_from(wider(interpolated_from(corrected, 3, "linear"), 1), 3, 0)
        seen20 = wider(union(products, energy), 1)
        # The 60 m bands are not projected.
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
        """Pixels of 20 m that the network reads for a cell: for the projection, and for its own layers."""
        return wider(projected_from(), self.of20.reach)

    @property
    def _sharpens_60(self) -> bool:
        return len(self.bands) > len(BY_GSD[20])

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per 10 m pixel of the convolutions and of the regressions."""
        # On the 20 m grid: products, their averages, elimination and use of the slopes; for 60 m, a ninth of that.
        regression = 66 * (1 + 10) + 6 * 60 + (66 * 14 + 6 * 60 + 95 * 24 + 1600) / 9 + 2 * 40
        blurs = (12 + 12 + 2 * BACK + 1) * 6 + 36 * (8 + 6 + 6 + 2) + 12 * 10 + 9 * 30
        return math.ceil(
            (6 * convolved(self.of20) + 2 * convolved(self.of60) + regression + blurs) / 4
        )

    def detail(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Detail:
        """Compute the local regression of reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w)."""
        first, *more = self._details(y10, y20, y60, 0)
        if not more:
            return first
        (of60,) = more
        return Detail(
            first.inputs + of60.inputs,
            torch.cat([first.picture, of60.picture], dim=1),
            torch.cat([first.amplitude, of60.amplitude], dim=1),
            first.doubt,
        )

    def _details(
        self, y10: Tensor, y20: Tensor, y60: Tensor, far: int, known: Tensor | None = None
    ) -> list[Detail]:
        """Return :meth:`detail` of the 20 m bands and, if they are sharpened, of the 60 m bands, which have no doubt.

        ``far``: pixels of 20 m on every side whose result is not needed; work for these alone is skipped. ``known``: see
        :meth:`forward`.
        """
        sight = NetSensor.of(self.sensor)
        y20, y60 = y20.contiguous(), y60.contiguous()
        y10 = F.pixel_unshuffle(y10.contiguous(), 2).unflatten(1, (4, 4))
        rim = max(0, far - _even(around(self._corrected)))
        # The rim drops the pixels that no later step reads.
        early = max(0, rim - around(_evidence_from()))
        planes = [transfer_detail(y10, y20, i, sight, early) for i in range(len(PLANES))]
        own = own_detail(cropped(y20, early), planes, sight).within(rim - early)
        planes = [plane.within(rim - early) for plane in planes]
        read = [*_read(planes[0], own, 0), *_read(planes[1], own, len(PLANES[0]))]
        picture = torch.cat([plane.picture for plane in planes], dim=1)
        energy = torch.cat([plane.energy for plane in planes], dim=1)
        details = [self._detail(self.of20, read, picture, energy, own.sure, own.doubt)]
        if self._sharpens_60:
            rim60 = max(0, far - _even(self.of60.reach))
            planes = [plane.within(rim60 - rim) for plane in planes]
            of60 = transfer_detail_60m(y20, y60, planes, sight, rim60, known)
            none = own.doubt[:, :0]
            details.append(
                self._detail(self.of60, of60.read, of60.picture, of60.energy, of60.sure, none)
            )
        return details

    def _detail(
        self,
        net: Corrector,
        read: Sequence[Sequence[Tensor]],
        picture: Tensor,
        energy: Tensor,
        sure: Tensor,
        doubt: Tensor,
    ) -> Detail:
        amplitude = _amplitude(energy)
        amplitude = cropped(amplitude, (amplitude.shape[-1] - sure.shape[-1]) // 2)
        inputs = (self._input(net, parts, amplitude[:, i, None]) for i, parts in enumerate(read))
        return Detail(tuple(inputs), picture, amplitude * sure, doubt)

    def _input(self, net: Corrector, parts: Sequence[Tensor], amplitude: Tensor) -> Tensor:
        """Return what ``net`` reads of a band, in units of its amplitude, as its convolutions take it."""
        n, _, *size = amplitude.shape
        out = torch.empty(
            (n, READS, *size),
            dtype=_TYPES.get(self.arithmetic, amplitude.dtype),
            device=amplitude.device,
            memory_format=torch.channels_last,
        )
        for rows in strips(out):
            each = [part[..., rows, :].flatten(1, -3) for part in parts]
            several = torch.cat(each, dim=1) / amplitude[..., rows, :]
            if self.arithmetic == "int8":
                several = rounded(several, net.read)
            # Cast in planes, then put among one another: both at once takes half as long again.
            out[..., rows, :] = several.to(out.dtype)
        return out

    def correction(self, inputs: Sequence[Tensor]) -> Tensor:
        """Apply the networks: (n, 23, 3h, 3w) of each band → (n, 8·4, 3h, 3w), in units of the amplitudes."""
        n = len(BY_GSD[20])
        of20 = self._corrections(self.of20, inputs[:n])
        if len(inputs) == n:
            return of20
        return torch.cat([of20, self._corrections(self.of60, inputs[n:])], dim=1)

    def _corrections(self, net: Corrector, inputs: Iterable[Tensor], rim: int = 0) -> Tensor:
        """Apply one network to each band; ``rim``: pixels on every side that are left out."""
        out = []
        # One band at a time: its intermediate results fit caches, and need no fresh pages.
        for band in inputs:
            with arithmetic(self.arithmetic, band.device):
                # Later steps work on contiguous channels, which here are few and small.
                part = net(band.contiguous(memory_format=torch.channels_last), rim)
                out.append(part.contiguous())
        return torch.cat(out, dim=1)

    def finished(self, detail: Detail, correction: Tensor, y20: Tensor) -> Tensor:
        """Correct the picture, and make the 20 m bands consistent with ``y20``: reflectance (n, 8, 6h, 6w)."""
        x = _corrected(detail.picture, detail.amplitude, correction)
        x = torch.cat([projected(x[:, :6], y20, detail.doubt, self.sensor), x[:, 6:]], dim=1)
        return F.pixel_shuffle(x.flatten(1, 2), 2)

    def forward(
        self, y10: Tensor, y20: Tensor, y60: Tensor, halo: int = 0, known: Tensor | None = None
    ) -> Tensor:
        """Sharpen windows.

        Parameters
        ----------
        y10, y20, y60
            Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w).
        halo
            Cells on every side whose result is not needed. It is 0 there, which saves time.
        known
            (n, 1, h, w): 1 in cells that have data, 0 in cells where a gap was filled. Slopes of 60 m bands do not use
            the latter. None: all have data.

        Returns
        -------
        Tensor
            (n, 8, 6h, 6w), 20 m bands first.
        """
        far = 3 * halo
        first, *more = self._details(y10, y20, y60, far, known)
        spare = min(far, _even(around(self._corrected)))
        cut = max(0, spare - around(projected_from()))
        left = spare - cut
        x = self._within(self.of20, first, cut)
        x = projected(x, cropped(y20, far - left), cropped(first.doubt, cut), self.sensor, left)
        whole = y10.new_zeros(len(x), len(self.bands), *y10.shape[2:])
        n, inner = x.shape[1], cropped(whole, 2 * far)
        _place(inner[:, :n], limited(x, y20, 1, far))
        for of60 in more:
            x = self._within(self.of60, of60, min(far, _even(self.of60.reach)))
            _place(inner[:, n:], limited(x, y60, 3, halo))
        return whole

    @property
    def any_shape(self) -> bool:
        """Return whether no bit depends on a window's shape: whole numbers add up exactly, others in a fixed order."""
        return self.arithmetic == "int8"

    def joins(self, window: int) -> bool:
        """Return whether a window of so many cells gives the same bits alone and as a part of a larger one.

        All steps but the convolutions add up in an order of their own. A library chooses how to convolve by processor
        and by shape, so that is tried out: once, in half a second.
        """
        kind = self.arithmetic, window
        if kind not in self._same:
            rims = ((self.of20, self._corrected), (self.of60, (-self.of60.reach, self.of60.reach)))
            self._same[kind] = all(
                self._is_same(net, 3 * window, _even(around(reach))) for net, reach in rims
            )
        return self._same[kind]

    @torch.inference_mode()
    def _is_same(self, net: Corrector, window: int, rim: int) -> bool:
        """Return whether a network gives a window's pixels the same bits in a picture of several windows."""
        side = (JOINED - 1) * window
        random = torch.Generator().manual_seed(0)
        x = torch.randn(1, READS, *[side + window + 2 * rim] * 2, generator=random)
        x = rounded(x, net.read) if self.arithmetic == "int8" else x
        x = x.to(_TYPES.get(self.arithmetic, x.dtype))
        whole = self._corrections(net, [x], net.reach)
        length = window + 2 * (rim - net.reach)
        return all(
            torch.equal(
                self._corrections(
                    net, [x[..., at : at + window + 2 * rim, at : at + window + 2 * rim]], net.reach
                ),
                whole[..., at : at + length, at : at + length],
            )
            for at in (0, side)
        )

    def _within(self, net: Corrector, detail: Detail, rim: int) -> Tensor:
        """Return the corrected picture in phases, without ``rim`` pixels on every side."""
        lost = net.reach if rim >= net.reach else 0
        more = cropped(self._corrections(net, detail.inputs, lost), rim - lost)
        return _corrected(cropped(detail.picture, rim), cropped(detail.amplitude, rim), more)


def _corrected(picture: Tensor, amplitude: Tensor, correction: Tensor) -> Tensor:
    """Add a correction: (n, bands·4, h, w), (n, bands, h, w) and (n, bands·4, h, w) → (n, bands, 4, h, w)."""
    picture, more = (x.unflatten(1, (-1, 4)) for x in (picture, correction.float()))
    return torch.addcmul(picture, amplitude[:, :, None], more)


def _place(out: Tensor, x: Tensor) -> None:
    """Write phases (n, bands, 4, h, w) into their picture."""
    for i in range(4):
        out[..., i // 2 :: 2, i % 2 :: 2] = x[:, :, i]


def _read(plane: Plane, own: OwnDetail, first: int) -> list[tuple[Tensor, ...]]:
    """Return what the network reads of each band of a focal plane, whose first is the ``first`` of the 20 m bands."""
    told = added_up(plane.low_terms)
    at = slice(first, first + told.shape[1])
    rest = own.weight[:, at] * (plane.high - told)
    single = torch.stack([told + rest, rest, own.unseen[:, at]], dim=2)
    return [
        (plane.terms[:, :, b], plane.low_terms[:, :, b], single[:, b]) for b in range(told.shape[1])
    ]


def _evidence_from() -> Interval:
    """Return the pixels of 20 m on which :class:`~s2sharp_core.networks.detail_transfer.OwnDetail` of a cell depends."""
    return halved(seen_from(wider((0, 2), len(NARROW) // 2 + 1), 2, blur()))


def _even(pixels: int) -> int:
    """Round up to an even number: the row of a window is then a multiple of four, and four pixels are computed at once."""
    return pixels + pixels % 2
