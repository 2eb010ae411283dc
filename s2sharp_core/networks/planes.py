"""Filters on contiguous channels, a few rows at a time, so that intermediate results fit a cache.

Local regression is bound by memory: a number in a processor's cache arrives four times as fast. A picture of 10 m is
stored as its four phases on the 20 m grid, (n, c, 4, h, w), so no filter steps over pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..sensor.observation import kernels
from ..sensor.response import Sensor, Shifts
from ..sensor.upsampling import weights_of_phases

# Numbers of a picture that are processed at once: a megabyte.
_AT_ONCE = 2**18
# Least number of rows: with fewer, most of the rows that a filter reads are context.
_FEWEST = 12

# One weight for all channels, or one for each: (c, 1, …).
_Taps = Sequence[float | Tensor]


def strips(x: Tensor, channels: int = 0, of: int = 1) -> Iterator[slice]:
    """Yield the rows of ``x`` (n, …, h, w) in strips that fit a processor's cache; on a GPU in one.

    Parameters
    ----------
    channels
        Numbers in memory for each pixel; 0: those of ``x``.
    of
        The number of rows of a strip is a multiple of this.
    """
    height, width = x.shape[-2:]
    each = height
    if x.device.type == "cpu":
        numbers = x.shape[0] * channels * width if channels else x.numel() // max(1, height)
        each = max(_FEWEST, _AT_ONCE // max(1, numbers) // of * of)
    return (slice(row, min(row + each, height)) for row in range(0, height, each))


def cropped(x: Tensor, rim: int) -> Tensor:
    """Remove ``rim`` pixels on every side."""
    return x[..., rim : x.shape[-2] - rim, rim : x.shape[-1] - rim] if rim else x


def smooth(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of (n, c, h, w) with ``kernel`` ⊗ ``kernel``, (odd,); its edges are replicated."""
    return filtered(F.pad(x, [kernel.numel() // 2] * 4, mode="replicate"), kernel)


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter like :func:`smooth`, without replication: the result is smaller by the kernel's length less one."""
    taps, more = kernel.tolist(), kernel.numel() - 1
    height, width = (size - more for size in x.shape[-2:])
    out = x.new_empty(*x.shape[:-2], height, width)
    for rows in strips(out):
        down = along(x[..., rows.start : rows.stop + more, :], taps, -2)
        along(down, taps, -1, out[..., rows, :])
    return out


def along(x: Tensor, taps: _Taps, dim: int, into: Tensor | None = None) -> Tensor:
    """Correlate along one axis, without padding."""
    size = x.shape[dim] - len(taps) + 1
    return _sum(((x.narrow(dim, i, size), tap) for i, tap in enumerate(taps)), into)


def _sum(terms: Iterable[tuple[Tensor, float | Tensor]], into: Tensor | None = None) -> Tensor:
    """Return the sum of pictures times weights, added in order."""
    total: Tensor | None = None
    for x, weight in terms:
        if isinstance(weight, float) and weight == 0:
            continue
        if total is None:
            total = _times(x, weight, into)
        elif isinstance(weight, float):
            total.add_(x, alpha=weight)
        else:
            total.addcmul_(x, weight)
    assert total is not None  # noqa: S101  (no kernel is empty)
    return total


def _times(x: Tensor, weight: float | Tensor, into: Tensor | None) -> Tensor:
    if into is None:
        return x * weight
    if torch.is_grad_enabled():
        return into.copy_(x * weight)
    return torch.mul(x, weight, out=into)


def added_up(x: Tensor) -> Tensor:
    """Sum (n, K, …) over K, one after the other: (n, …).

    torch's own sum takes another order for the last pixels of a row, so a value would depend on its window's width.
    """
    first, second, *more = x.unbind(1)
    total = first + second
    for part in more:
        total.add_(part)
    return total


def pooled(x: Tensor, ratio: int) -> Tensor:
    """Return means of ``ratio`` × ``ratio`` pixels."""
    x = _sum((x[..., i::ratio, :], 1.0) for i in range(ratio))
    return _sum((x[..., i::ratio], 1.0) for i in range(ratio)).div_(ratio**2)


def seen(x: Tensor, bands: Sequence[str], sensor: Sensor) -> Tensor:
    """Degrade a picture in phases to pixels twice as large, like :func:`~s2sharp_core.sensor.observation.degrade`.

    (n, bands, 4, h, w) → (n, bands, h, w)
    """
    height, width = x.shape[-2:]
    taps, before, length = _kernels(tuple(bands), sensor, x.dtype, x.device)
    # Phase of pixel i of the kernel, and offset of the coarse pixel that it lies in.
    at = [((i - before) % 2, (i - before) // 2) for i in range(length)]
    margin = max(abs(off) for _, off in at)
    x = _framed(x.unflatten(2, (2, 2)), margin)
    out = x.new_empty(*x.shape[:2], height, width)
    for rows in strips(out, 4 * x.shape[1]):
        count = rows.stop - rows.start
        down = _sum(
            (x[:, :, phase].narrow(-2, rows.start + margin + off, count), tap)
            for (phase, off), tap in zip(at, taps[0], strict=True)
        )
        _sum(
            (
                (down[:, :, phase].narrow(-1, margin + off, width), tap)
                for (phase, off), tap in zip(at, taps[1], strict=True)
            ),
            out[..., rows, :],
        )
    return out


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _kernels(
    bands: tuple[str, ...], sensor: Sensor, dtype: torch.dtype, device: torch.device
) -> tuple[tuple[_Taps, _Taps], int, int]:
    """Return weights down and across, the number of fine pixels before a coarse one's first, and that of the weights."""
    down, across, (before, _) = kernels(bands, 2, torch.empty(0, dtype=dtype), sensor)
    same = len(set(bands)) == 1
    taps = (
        down[0].tolist() if same else [*down.to(device).T[:, :, None, None, None]],
        across[0].tolist() if same else [*across.to(device).T[:, :, None, None]],
    )
    return taps, before, down.shape[1]


def _framed(x: Tensor, margin: int) -> Tensor:
    """Replicate the outermost fine pixels of (n, c, 2, 2, h, w): ``margin`` coarse pixels on each side."""
    channels = x.shape[1:4]
    out = F.pad(x.flatten(1, 3), [margin] * 4, mode="replicate").unflatten(1, channels)
    out[:, :, 1, :, :margin] = out[:, :, 0, :, :margin]
    out[:, :, 0, :, -margin:] = out[:, :, 1, :, -margin:]
    out[..., 1, :, :margin] = out[..., 0, :, :margin]
    out[..., 0, :, -margin:] = out[..., 1, :, -margin:]
    return out


def enlarged(y: Tensor, ratio: int, kind: str = "cubic", shifts: Shifts | None = None) -> Tensor:
    """Interpolate like :func:`~s2sharp_core.sensor.upsampling.upsample`: (n, c, h, w) → (n, c, ratio·h, ratio·w)."""
    height, width = y.shape[-2:]
    down, across, reach = _interpolation(ratio, kind, shifts, y.dtype, y.device)
    y = F.pad(y, [reach] * 4, mode="replicate")
    tall = torch.stack([along(y, taps, -2) for taps in down], dim=3).flatten(2, 3)
    out = y.new_empty(*y.shape[:2], ratio * height, ratio * width)
    for rows in strips(out):
        for i, taps in enumerate(across):
            out[..., rows, i::ratio] = along(tall[..., rows, :], taps, -1)
    return out


def phases_of(y: Tensor, ratio: int, kind: str = "cubic", shifts: Shifts | None = None) -> Tensor:
    """Interpolate to the ``ratio``² phases of each coarse pixel: (n, c, h, w) → (n, c, ratio², h, w)."""
    height, width = y.shape[-2:]
    down, across, reach = _interpolation(ratio, kind, shifts, y.dtype, y.device)
    y = F.pad(y, [reach] * 4, mode="replicate")
    out = y.new_empty(*y.shape[:2], ratio, ratio, height, width)
    for rows in strips(out):
        part = y[..., rows.start : rows.stop + 2 * reach, :]
        for i, tall in enumerate(along(part, taps, -2) for taps in down):
            for j, taps in enumerate(across):
                along(tall, taps, -1, out[:, :, i, j, rows])
    return out.flatten(2, 3)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _interpolation(
    ratio: int, kind: str, shifts: Shifts | None, dtype: torch.dtype, device: torch.device
) -> tuple[list[_Taps], list[_Taps], int]:
    """Return weights of each phase down and across, and the number of coarse pixels they read on each side."""
    moved = tuple(shifts) if shifts and any(map(any, shifts)) else ((0.0, 0.0),)
    same = len(set(moved)) == 1
    each = [weights_of_phases(ratio, kind, moved, axis) for axis in (0, 1)]  # (bands, ratio, taps)
    reach = each[0].shape[2] // 2
    if same:
        return *(k[0].tolist() for k in each), reach  # type: ignore[return-value]
    down, across = (k.to(device, dtype) for k in each)
    return (
        [[*down[:, i].T[:, :, None, None]] for i in range(ratio)],
        [[*across[:, i].T[:, :, None, None]] for i in range(ratio)],
        reach,
    )
