"""Import of the weights that DSen2's authors published, from HDF5 by Keras to safetensors."""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import S2SharpError
from ..networks import ResidualNet
from ..weights.store import PUBLISHED, save_net, weights_file

# Order in which the published nets read bands, by GSD. The comments in their code name the 10 m bands from blue to
# red, but the input had GDAL's order of the product.
_ORDER = {
    10: ("B04", "B03", "B02", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09"),
}
_READS = {gsd: tuple(b for g in _ORDER if g <= gsd for b in _ORDER[g]) for gsd in (20, 60)}
_STRUCTURE = (
    "3×3 convolutions with bias: from 10 or 12 bands to N features, two from N to N for each block, "
    "from N to 6 bands (of 10) or 2 (of 12)"
)


class _Conv(NamedTuple):
    """One convolution: its kernel in the layout of Keras, (3, 3, inputs, outputs), and its bias."""

    layer: str
    kernel: np.ndarray
    bias: np.ndarray


def import_keras(source: Path, folder: Path) -> tuple[str, Path]:
    """Convert weights that Keras saved for DSen2 or VDSen2 to safetensors with a card.

    Nothing in the file is executed or unpickled: only arrays and their names are read.

    Parameters
    ----------
    source
        An HDF5 file of a whole Keras 2 model or of its weights, such as ``s2_032_lr_1e-04.hdf5``.
    folder
        Folder for the weights, which get the file name that ``--weights`` looks for.

    Returns
    -------
    tuple
        The method and the file. 32 blocks of 256 features are ``vdsen2``, all others ``dsen2``.

    Raises
    ------
    S2SharpError
        ``weights-missing``; ``weights-corrupt`` for a file of another kind or structure; ``bad-config`` if h5py is
        not installed.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise S2SharpError(
            "weights-missing",
            f"Cannot read {source}: {error}.",
            "Give a file such as models/s2_032_lr_1e-04.hdf5 of github.com/lanha/DSen2.",
        ) from error
    convolutions, written_by = _read(content, source)
    net = _net(convolutions, source)
    size = (net.features, net.blocks)
    method = "vdsen2" if size == PUBLISHED["vdsen2"] else "dsen2"
    file = folder / weights_file(method, net.gsd)
    facts = {
        "method": method,
        "source": {
            "file": source.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "written_by": written_by,
        },
        "bands": f"read as {' '.join(_READS[net.gsd])} there; the first layer is permuted to the order here",
        "interpolation": "bilinear between pixel centres, as there; but there each patch was "
        "interpolated by itself (scikit-image's resize, order 1), here the whole picture: they differ "
        "at the edges of patches",
        "protocol": "the authors' own: Wald with a Gaussian of σ = 1/d and block means, not the "
        "sensor's MTF",
        "licence": "as the source's, which is not Apache-2.0: read it before you pass these weights on",
        "reference": "Lanaras et al. 2018, doi:10.1016/j.isprsjprs.2018.09.018",
    }
    save_net(net, file, facts)
    return method, file


def _read(content: bytes, source: Path) -> tuple[list[_Conv], str]:
    """Return the layers with weights, in the order of the model, and the version of Keras."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise S2SharpError(
            "bad-config",
            "Importing Keras weights needs h5py.",
            "Install it: `pip install 's2sharp[keras]'`.",
        ) from error
    try:
        with h5py.File(BytesIO(content), "r") as file:
            group = file.get("model_weights", file)
            if "layer_names" not in group.attrs:
                raise _corrupt(source, "an attribute layer_names", f"groups {sorted(file)[:5]}")
            backend, version = (
                _text(group.attrs.get(k, b"")) for k in ("backend", "keras_version")
            )
            # Theano convolves where the others correlate, so its kernels are rotated by 180°.
            turn = slice(None, None, -1 if backend == "theano" else 1)
            convolutions = [
                _Conv(layer, kernel[turn, turn], bias)
                for layer, kernel, bias in _layers(group, source)
            ]
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        found = f"one that cannot be read ({error})"
        raise _corrupt(source, "a whole HDF5 file of Keras", found) from error
    return convolutions, f"Keras {version or '?'} on {backend or '?'}"


def _layers(group: Any, source: Path) -> Iterator[_Conv]:
    for layer in map(_text, group.attrs["layer_names"]):
        names = [_text(name) for name in group[layer].attrs["weight_names"]]
        arrays = [group[layer][name] for name in names]
        if not arrays:
            continue
        shapes = [array.shape for array in arrays]
        if [len(shape) for shape in shapes] != [4, 1]:
            raise _corrupt(source, _STRUCTURE, f"a layer {layer} with weights {shapes}")
        kernel, bias = (np.asarray(array, np.float32) for array in arrays)
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise _corrupt(source, "numbers", f"NaN or infinity in the layer {layer}")
        yield _Conv(layer, kernel, bias)


def _net(convolutions: list[_Conv], source: Path) -> ResidualNet:
    """Return the network that fits the shapes, with the weights."""
    count = len(convolutions)
    if count < 4 or count % 2:
        raise _corrupt(source, f"{_STRUCTURE} (at least one block)", f"{count} convolutions")
    read, features = convolutions[0].kernel.shape[2:]
    gsd = {len(bands): gsd for gsd, bands in _READS.items()}.get(read, 0)
    given = len(_ORDER.get(gsd, ()))
    widths = [read, *[features] * (count - 1), given]
    for i, (layer, kernel, bias) in enumerate(convolutions):
        expected = (3, 3, widths[i], widths[i + 1])
        if not gsd or kernel.shape != expected or bias.shape != expected[3:]:
            found = f"a layer {layer} with kernel {kernel.shape} and bias {bias.shape}"
            raise _corrupt(source, _STRUCTURE, found)
    net = ResidualNet(gsd, features, count // 2 - 1)
    inputs = [_READS[gsd].index(band) for band in net.reads]
    outputs = [_ORDER[gsd].index(band) for band in net.bands]
    convolutions[0] = convolutions[0]._replace(kernel=convolutions[0].kernel[:, :, inputs])
    tail = convolutions[-1]
    convolutions[-1] = tail._replace(kernel=tail.kernel[..., outputs], bias=tail.bias[outputs])
    body = [f"body.{i}.{part}" for i in range(net.blocks) for part in ("first", "second")]
    state = {}
    for name, conv in zip(["head", *body, "tail"], convolutions, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(conv.kernel.transpose(3, 2, 0, 1).copy())
        state[f"{name}.bias"] = torch.from_numpy(conv.bias)
    net.load_state_dict(state)
    return net


def _text(name: Any) -> str:
    """Return a name from h5py as text: it is bytes from Keras 2, and text from later versions."""
    return name.decode() if isinstance(name, bytes) else str(name)


def _corrupt(source: Path, expected: str, found: str) -> S2SharpError:
    return S2SharpError(
        "weights-corrupt",
        f"{source} is not what Keras writes for DSen2: expected {expected}; found {found}.",
        "Import a file of github.com/lanha/DSen2 (models/s2_032_lr_1e-04.hdf5, …), downloaded as a whole.",
    )
