"""s2net: local regression for what follows from the fine bands, a small network for the rest.

Everything but the last step lies on the 20 m grid, where a 10 m picture has four phases a band (pixel-unshuffle):

1. *Local regression.* The detail of every coarse band is regressed on that of the finer bands in a
   neighbourhood of 5 × 5 coarse pixels, and theirs carried over (:mod:`s2sharp_core.regression`). Nothing is learned,
   so nothing is tied to the scenes that a net was trained on.
2. *Network.* A small residual net corrects that, the same one for every band of a GSD: it reads what each finer band
   contributes, in units of the band's local amplitude, and knows nothing of spectra. A gain or an offset of any
   band (another product level, another atmosphere) passes through it.
3. *Projection* (20 m). What the satellite would see of the result is brought to what it saw,
   ``x + U h (y − A x)``: U interpolation and h a short filter, the inverse of A U as a truncated Neumann series, which
   iterated back-projection (Irani and Peleg, CVGIP 53, 1991) amounts to on a grid.

Every operation is local: the halo is the sum of their reaches.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BANDS, BY_GSD, ratio
from ..observation import degrade, psf, sigma, upsample, upsample_phases
from ..regression import local_slopes, smooth
from .arithmetic import Arithmetic, arithmetic

__all__ = ["Detail", "S2Net"]

_TRIANGLE = torch.tensor([0.25, 0.5, 0.25])
_WINDOW = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / 1.5) ** 2)
_WINDOW = _WINDOW / _WINDOW.sum()
_RIDGE = {20: 3e-3, 60: 1e-3}
# Amplitudes are not taken smaller than this, reflectance: the noise of a band.
_NOISE = 5e-4
# Terms of the Neumann series: as many iterations of back-projection.
_TERMS = 4
# Blur and decimation of the fine bands by the MTF of one band of each coarse GSD, the one in the middle.
_TYPICAL = {g: sorted(BY_GSD[g], key=lambda b: BANDS[b].mtf)[len(BY_GSD[g]) // 2] for g in (20, 60)}
# Taps on each side of the filters below, in pixels of their grid.
_MIDDLE, _REACH = 4, 3


# Taps on each side: of the blur from 20 to 60 m, and of h.
_MIDDLE, _REACH = 4, 3
# What the network reads of a band.
_READS = 23

Interval = tuple[int, int]


@dataclass(frozen=True)
class Detail:
    """What local regression gives, on the 20 m grid, where a 10 m band has four phases.

    Attributes
    ----------
    inputs
        (n, 8·23, 3h, 3w): what the network reads of each band, in units of its amplitude.
    picture
        (n, 8·4, 3h, 3w): the six bands of 20 m and the two of 60 m at 10 m, reflectance.
    amplitude
        (n, 8, 3h, 3w): of each of these bands, reflectance.
    """

    inputs: Tensor
    picture: Tensor
    amplitude: Tensor


def _to_60(x: Tensor) -> Tensor:
    """Bands as they are at 20 m, (n, c, 3h, 3w), blurred on to what they would be at 60 m: (n, c, h, w)."""
    fine, coarse = (sigma(BANDS[_TYPICAL[g]].mtf, ratio(g)) for g in (20, 60))
    at = torch.arange(-_MIDDLE, _MIDDLE + 1.0)
    # The 20 m grid has two 10 m pixels to one of its own.
    k = torch.exp(-0.5 * at**2 / ((coarse**2 - fine**2) / 4))
    k = (k / k.sum()).to(x)
    c = x.shape[1]
    x = F.pad(x, [_MIDDLE - 1] * 4, mode="replicate")
    x = F.conv2d(x, k.view(1, 1, -1, 1).expand(c, 1, -1, 1), stride=(3, 1), groups=c)
    return F.conv2d(x, k.view(1, 1, 1, -1).expand(c, 1, 1, -1), stride=(1, 3), groups=c)


@lru_cache(maxsize=1)
@torch.inference_mode(mode=False)
def _back_filters() -> Tensor:
    """H of each 20 m band: the sum of (1 - A U)ⁱ, i < ``_TERMS``, cut to 2·``_REACH`` + 1 taps: float64 (6, taps).

    A U, interpolation seen again, is a separable filter on the coarse grid; the series is taken along each axis.
    """
    bands, half = BY_GSD[20], 8
    impulse = torch.zeros(1, len(bands), 1 + 4 * half, 1 + 4 * half, dtype=torch.float64)
    impulse[..., 2 * half, 2 * half] = 1
    seen = degrade(upsample(impulse, 2), bands, 2)[0, :, half:-half, half:-half]
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


def _projected(x: Tensor, y: Tensor) -> Tensor:
    """Bring the 20 m bands ``x`` (n, 6, 6h, 6w) to what was seen of them, ``y`` (n, 6, 3h, 3w)."""
    bands = BY_GSD[20]
    h = _back_filters().to(x)
    rest = y - degrade(x, bands, 2)
    rest = F.pad(rest.contiguous(memory_format=torch.channels_last), [_REACH] * 4, mode="replicate")
    rest = F.conv2d(rest, h[:, None, :, None], groups=len(bands))
    rest = F.conv2d(rest, h[:, None, None, :], groups=len(bands))
    return x + upsample(rest, 2)


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
                nn.ReLU(),
                nn.Conv2d(features, features, 1, bias=False),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv2d(features, 4, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.head(x))
        for block in self.body:
            x = x + block(x)
        return self.tail(x)


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
    bands: tuple[str, ...] = BY_GSD[20] + BY_GSD[60]
    reads: tuple[str, ...] = BY_GSD[10] + BY_GSD[20] + BY_GSD[60]

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

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """By GSD: pixels of that grid read before and after a cell, along each axis.

        From the last step back to the first; intervals are pixels of the grid named, counted from the cell's first.
        """
        blur = max((psf(band, 2).numel() - 2) // 2 for band in BY_GSD[20])
        radius = 2 + self.blocks
        # 20 m bands: projection, network, and how the regression's picture would be seen.
        rest = _wider(_interpolated_from((0, 5), 2, "cubic"), _REACH)
        corrected = _wider(_halved(_seen_from(rest, 2, blur)), radius)
        slopes = _wider(_halved(_seen_from(corrected, 2, blur)), 3)
        energy = _wider(_seen_from(_wider(_interpolated_from(corrected, 3, "linear"), 1), 3, 0), 1)
        # 60 m bands, which are not projected.
        at20 = _union(slopes, energy)
        at60 = _wider(_interpolated_from(_wider((0, 2), radius), 3, "linear"), 3)
        if self._sharpens_60:
            at20 = _union(at20, _seen_from(at60, 3, _MIDDLE - 1))
        at10 = _seen_from(at20, 2, (psf(_TYPICAL[20], 2).numel() - 2) // 2)
        reach = {10: (-at10[0], at10[1] - 5), 20: (-at20[0], at20[1] - 2)}
        return reach | {60: (-at60[0], at60[1])} if self._sharpens_60 else reach

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
        regression = 34 * (1 + 10) + 100 + 6 * 16 + (75 * 11 + 800) / 9 + 2 * 40
        blurs = (10 + 10 + 2 * _REACH + 1) * 6 + 25 * (4 + 6 + 6 + 2) + 9 * 30
        return math.ceil((6 * each[0] + 2 * each[1] + regression + blurs) / 4)

    def detail(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Detail:
        """Local regression: reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → what is to be corrected."""
        last = torch.channels_last
        y10, y20, y60 = (y.contiguous(memory_format=last) for y in (y10, y20, y60))
        n, _, h, w = y20.shape

        # 20 m bands (B) from the 10 m bands (K), in planes: (n, K, B, phases, h, w).
        p20 = degrade(y10, (_TYPICAL[20],) * 4, 2)
        at20 = torch.cat([p20, y20], dim=1)
        high20 = at20 - smooth(at20, _TRIANGLE)
        slopes = local_slopes(high20[:, :4], high20[:, 4:], _WINDOW, _RIDGE[20])
        fine = (F.pixel_unshuffle(y10, 2) - upsample_phases(p20, 2)).contiguous()
        fine = fine.reshape(n, 4, 1, 4, h, w)
        terms = slopes[:, :, :, None] * fine
        carried = terms.sum(dim=1)
        picture20 = upsample_phases(y20, 2) + carried.flatten(1, 2)
        high = high20.contiguous()
        low_terms = slopes * high[:, :4, None]
        unseen = y20 - degrade(F.pixel_shuffle(picture20, 2), BY_GSD[20], 2)

        energy = F.avg_pool2d(high20[:, 4:].square(), 3)
        inputs = [
            terms.transpose(1, 2).flatten(2, 3),
            low_terms.transpose(1, 2),
            high[:, 4:, None],
            (high[:, 4:] - low_terms.sum(dim=1))[:, :, None],
            unseen[:, :, None],
        ]
        if not self._sharpens_60:
            amplitude = _amplitude(energy)
            return Detail(
                (torch.cat(inputs, dim=2) / amplitude[:, :, None]).flatten(1, 2),
                picture20,
                amplitude,
            )

        # 60 m bands from all others: what these show at 20 m, and what beyond.
        p60 = _to_60(at20)
        at60 = torch.cat([p60, y60], dim=1)
        high60 = at60 - smooth(at60, _TRIANGLE)
        slopes60 = local_slopes(high60[:, :10], high60[:, 10:], _WINDOW, _RIDGE[60])
        slopes60 = upsample(slopes60.flatten(1, 2), 3, "linear").contiguous().unflatten(1, (10, 2))
        middle = (slopes60 * (at20 - upsample(p60, 3)).contiguous()[:, :, None]).sum(dim=1)
        far10 = slopes60[:, :4, :, None] * fine
        far = far10.sum(dim=1) + (slopes60[:, 4:, :, None] * carried[:, :, None]).sum(dim=1)
        picture60 = upsample_phases(upsample(y60, 3) + middle, 2) + far.flatten(1, 2)

        amplitude = _amplitude(torch.cat([energy, high60[:, 10:].square()], dim=1))
        inputs60 = [
            far10.transpose(1, 2).flatten(2, 3),
            far,
            middle[:, :, None],
            upsample(high60[:, 10:], 3, "linear")[:, :, None],
            torch.zeros_like(middle)[:, :, None],
        ]
        every = torch.cat([torch.cat(inputs, dim=2), torch.cat(inputs60, dim=2)], dim=1)
        return Detail(
            (every / amplitude[:, :, None]).flatten(1, 2),
            torch.cat([picture20, picture60], dim=1),
            amplitude,
        )

    def correction(self, inputs: Tensor) -> Tensor:
        """The networks: (n, 8·23, 3h, 3w) → (n, 8·4, 3h, 3w), in units of the amplitudes."""
        n, _, h, w = inputs.shape
        out = []
        parts = inputs.split([6 * _READS, 2 * _READS][: 1 + self._sharpens_60], dim=1)
        for net, part in zip((self.of20, self.of60), parts, strict=False):
            each = part.reshape(-1, _READS, h, w).contiguous(memory_format=torch.channels_last)
            with arithmetic(self.arithmetic, each.device):
                out.append(net(each).reshape(n, -1, h, w))
        return torch.cat(out, dim=1)

    def finished(self, detail: Detail, correction: Tensor, y20: Tensor) -> Tensor:
        """The corrected picture, the 20 m bands brought to what was seen: reflectance (n, 8, 6h, 6w)."""
        x = detail.picture + detail.amplitude.repeat_interleave(4, dim=1) * correction.float()
        x = F.pixel_shuffle(x, 2)
        return torch.cat([_projected(x[:, :6], y20), x[:, 6:]], dim=1)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, 8, 6h, 6w), 20 m bands first."""
        detail = self.detail(y10, y20, y60)
        return self.finished(detail, self.correction(detail.inputs), y20)


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
