"""Files as Keras 2 writes them, made here with h5py: a whole model, or its weights alone."""

import hashlib
import json
import sys
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from s2sharp_core import S2SharpError, load_sharpener
from s2sharp_core.bands import BY_GSD
from s2sharp_core.learning.keras import import_keras
from s2sharp_core.weights import load_net

PUBLISHED = {
    10: ("B04", "B03", "B02", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09"),
}
READ, GIVEN = {20: 10, 60: 12}, {20: 6, 60: 2}


def random_layers(gsd, features, blocks, seed=3):
    """Kernels as Keras has them (3, 3, inputs, outputs), and biases."""
    rng = np.random.default_rng(seed)
    widths = [READ[gsd], *[features] * (2 * blocks + 1), GIVEN[gsd]]
    layers = []
    for a, b in pairwise(widths):
        kernel = rng.normal(0, (9 * a) ** -0.5, (3, 3, a, b))
        layers.append([kernel.astype("f4"), rng.normal(0, 0.3, b).astype("f4")])
    return layers


def layer_names(gsd, count, first=1):
    """All layers of the model, from inputs to the last sum, and which of them are convolutions."""
    inputs = [f"input_{i + 1}" for i in range(2 if gsd == 20 else 3)]
    convs = [f"conv2d_{first + i}" for i in range(count)]
    names = [*inputs, "concatenate_1", convs[0]]
    for i in range(1, count - 1, 2):
        block = i // 2 + 1
        names += [convs[i], f"activation_{block}", convs[i + 1], f"lambda_{block}", f"add_{block}"]
    return [*names, convs[-1], f"add_{count // 2}"], convs


def write_keras(file, gsd, layers, *, whole=True, backend=b"tensorflow", text=False):
    names, convs = layer_names(gsd, len(layers), first=97)
    kind = None if text else "S"
    with h5py.File(file, "w") as h5:
        group = h5.create_group("model_weights") if whole else h5
        if whole:
            h5.attrs["model_config"] = b'{"class_name": "Model"}'
            h5.create_group("optimizer_weights").create_dataset("Nadam/iterations:0", data=7)
        group.attrs["backend"] = backend
        group.attrs["keras_version"] = b"2.1.3"
        group.attrs["layer_names"] = as_names(names, kind)
        for name in names:
            layer = group.create_group(name)
            if name not in convs:
                layer.attrs["weight_names"] = np.array([])
                continue
            weights = [f"{name}/kernel:0", f"{name}/bias:0"]
            layer.attrs["weight_names"] = as_names(weights, kind)
            for weight, array in zip(weights, layers[convs.index(name)], strict=True):
                layer.create_dataset(weight, data=array)
    return file


def as_names(names, kind):
    return np.array(names, kind) if kind else np.array(names, dtype=h5py.string_dtype())


def convolve(x, kernel, bias):
    """What a layer of Keras does to (channels, H, W), padding "same", in float64."""
    out = np.repeat(bias.astype(float), x[0].size).reshape(-1, *x[0].shape)
    for o in range(kernel.shape[3]):
        for i in range(kernel.shape[2]):
            k = kernel[:, :, i, o].astype(float)
            out[o] += signal.correlate2d(x[i], k, mode="same")
    return out


def published(gsd, layers, dn):
    """The authors' model on bands in DN: name → native picture in, name → 10 m picture out."""
    stack = []
    for g in [g for g in PUBLISHED if g <= gsd]:
        for band in PUBLISHED[g]:
            x = dn[band] / 2000
            stack.append(ndimage.zoom(x, g // 10, order=1, mode="nearest", grid_mode=True))
    x = np.maximum(convolve(np.stack(stack), *layers[0]), 0)
    for first, second in zip(layers[1:-1:2], layers[2:-1:2], strict=True):
        x = x + 0.1 * convolve(np.maximum(convolve(x, *first), 0), *second)
    x = convolve(x, *layers[-1]) + np.stack(stack[-GIVEN[gsd] :])
    return dict(zip(PUBLISHED[gsd], 2000 * x, strict=True))


def random_bands(cells=3, seed=5):
    rng = np.random.default_rng(seed)
    return {
        band: rng.uniform(0, 6000, [cells * 60 // gsd] * 2)
        for gsd, bands in BY_GSD.items()
        for band in bands
    }


def sharpened(sharpener, dn):
    y = [
        torch.from_numpy(np.stack([dn[b] for b in bands])[None] / 10_000).float()
        for bands in BY_GSD.values()
    ]
    return {band: x[0].numpy() * 10_000 for band, x in sharpener.sharpen(*y).items()}


@pytest.mark.parametrize("whole", [True, False], ids=["model", "weights"])
@pytest.mark.parametrize(("gsd", "features", "blocks"), [(20, 5, 2), (60, 4, 6)])
def test_an_imported_net_does_what_the_layers_do_in_float64(tmp_path, gsd, features, blocks, whole):
    layers = random_layers(gsd, features, blocks)
    source = write_keras(tmp_path / "s2_032.hdf5", gsd, layers, whole=whole)
    method, file = import_keras(source, tmp_path / "new")
    assert method == "dsen2"
    assert file.name == f"dsen2-{gsd}m.safetensors"
    sharpener = load_sharpener("dsen2", PUBLISHED[gsd], tmp_path / "new", "cpu", "float32")
    assert sharpener.nets[0].config == {"gsd": gsd, "features": features, "blocks": blocks}
    dn = random_bands()
    expected, got = published(gsd, layers, dn), sharpened(sharpener, dn)
    assert set(got) == set(expected)
    for band in expected:  # in the published unit, DN / 2000
        assert np.abs(got[band] - expected[band]).max() / 2000 < 1e-4, band
    # The test would see another order of the bands.
    wrong = published(gsd, layers, {**dn, "B02": dn["B04"], "B04": dn["B02"]})
    assert np.abs(wrong[PUBLISHED[gsd][0]] - got[PUBLISHED[gsd][0]]).max() / 2000 > 1e-2


def test_the_true_size_is_recognised_and_both_nets_make_one_folder(tmp_path):
    for gsd in (20, 60):
        source = write_keras(tmp_path / f"{gsd}.hdf5", gsd, random_layers(gsd, 128, 6))
        import_keras(source, tmp_path / "out")
    sharpener = load_sharpener("dsen2", weights=tmp_path / "out", device="cpu")
    assert sharpener.bands == ("B01", "B05", "B06", "B07", "B8A", "B09", "B11", "B12")
    assert [net.multiply_adds for net in sharpener.nets] == [1_787_904, 1_785_600]


def test_32_blocks_of_256_features_are_vdsen2(tmp_path):
    layers = [[np.zeros_like(k), np.zeros_like(b)] for k, b in random_layers(20, 256, blocks=1)]
    source = write_keras(tmp_path / "s2_033.hdf5", 20, [layers[0], *layers[1:-1] * 32, layers[-1]])
    method, file = import_keras(source, tmp_path)
    assert (method, file.name) == ("vdsen2", "vdsen2-20m.safetensors")
    sharpener = load_sharpener("vdsen2", BY_GSD[20], tmp_path, device="cpu")
    assert sharpener.nets[0].radius == 66
    assert sharpener.halo == 12


def test_the_card_says_where_the_weights_are_from(tmp_path):
    source = write_keras(tmp_path / "s2_030.hdf5", 60, random_layers(60, 3, 1))
    _, file = import_keras(source, tmp_path / "out")
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["network"] == {"kind": "residual", "gsd": 60, "features": 3, "blocks": 1}
    assert card["source"] == {
        "file": "s2_030.hdf5",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "written_by": "Keras 2.1.3 on tensorflow",
    }
    assert "B04 B03 B02 B08" in card["bands"]
    assert "resize" in card["interpolation"]
    assert "licence" in card


def test_names_as_text_and_kernels_of_theano_are_understood(tmp_path):
    layers = random_layers(20, 3, 1)
    _, file = import_keras(write_keras(tmp_path / "a.hdf5", 20, layers), tmp_path / "a")
    turned = [[kernel[::-1, ::-1], bias] for kernel, bias in layers]
    source = write_keras(tmp_path / "b.hdf5", 20, turned, backend=b"theano", text=True)
    _, other = import_keras(source, tmp_path / "b")
    assert load_net(file)[1] == load_net(other)[1]


def refused(source, *words, kind="weights-corrupt"):
    with pytest.raises(S2SharpError) as error:
        import_keras(source, source.parent / "out")
    assert error.value.kind == kind
    assert error.value.remedy
    for word in (str(source), *words):
        assert word in error.value.message
    assert not (source.parent / "out").exists()


def kernel(layers, i, *shape):
    layers[i][0] = np.zeros(shape, "f4")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: kernel(x, 0, 3, 3, 11, 4), ["10 or 12", "(3, 3, 11, 4)"]),
        (lambda x: kernel(x, 0, 5, 5, 10, 4), ["3×3", "(5, 5, 10, 4)"]),
        (lambda x: kernel(x, 0, 4, 10, 3, 3), ["3×3", "(4, 10, 3, 3)"]),  # Keras 1
        (lambda x: kernel(x, 2, 3, 3, 4, 5), ["conv2d_99", "(3, 3, 4, 5)"]),
        (lambda x: kernel(x, -1, 3, 3, 4, 2), ["6 bands", "(3, 3, 4, 2)"]),
        (lambda x: kernel(x, 1, 4, 4), ["conv2d_98", "[(4, 4), (4,)]"]),
        (lambda x: x[1].pop(), ["with bias", "[(3, 3, 4, 4)]"]),
        (lambda x: x[1].append(np.ones(4)), ["[(3, 3, 4, 4), (4,), (4,)]"]),
        (lambda x: x[1][1].resize(5), ["bias (5,)"]),
        (lambda x: x[1][1].fill(np.nan), ["NaN", "conv2d_98"]),
        (lambda x: x.pop(2), ["5 convolutions"]),
        (lambda x: x.__delitem__(slice(1, 5)), ["at least one block", "2 convolutions"]),
    ],
)
def test_another_structure_is_refused_naming_what_was_found(tmp_path, change, words):
    layers = random_layers(20, 4, 2)
    change(layers)
    refused(write_other(tmp_path / "other.hdf5", layers), *words)


def write_other(file, layers):
    """Convolutions alone, whatever their weights."""
    with h5py.File(file, "w") as h5:
        names = [f"conv2d_{97 + i}" for i in range(len(layers))]
        h5.attrs["layer_names"] = np.array(names, "S")
        for name, arrays in zip(names, layers, strict=True):
            weights = [f"{name}/{k}:0" for k in ("kernel", "bias", "gamma")][: len(arrays)]
            layer = h5.create_group(name)
            layer.attrs["weight_names"] = np.array(weights, "S")
            for weight, array in zip(weights, arrays, strict=True):
                layer[weight] = array
    return file


def test_a_truncated_file_is_refused(tmp_path):
    source = write_keras(tmp_path / "whole.hdf5", 20, random_layers(20, 8, 2))
    content = source.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        source.write_bytes(content[:size])
        refused(source, "a whole HDF5 file")


def test_a_file_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "weights.hdf5"
    file.write_bytes(b"\x80\x04 a pickle, perhaps")
    refused(file, "a whole HDF5 file")
    with h5py.File(file, "w") as h5:
        h5["im10"] = np.zeros((4, 6))
    refused(file, "layer_names", "im10")


def test_a_file_whose_names_lead_nowhere_is_refused(tmp_path):
    file = write_keras(tmp_path / "weights.hdf5", 20, random_layers(20, 3, 1))
    with h5py.File(file, "a") as h5:
        del h5["model_weights/conv2d_98/conv2d_98/kernel:0"]
    refused(file, "cannot be read")
    with h5py.File(file, "a") as h5:
        h5["model_weights"].attrs["layer_names"] = 3
    refused(file, "cannot be read")


def test_a_file_that_is_not_there_is_named(tmp_path):
    refused(tmp_path / "s2_032.hdf5", kind="weights-missing")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    source = write_keras(tmp_path / "s2_032.hdf5", 20, random_layers(20, 3, 1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(S2SharpError, match="h5py") as error:
        import_keras(source, tmp_path / "out")
    assert error.value.kind == "bad-config"
    assert "pip install 's2sharp[keras]'" in error.value.remedy
