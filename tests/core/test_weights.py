import json
import pickle

import pytest
import torch

from s2sharp_core import S2SharpError, load_sharpener
from s2sharp_core.bands import BY_GSD
from s2sharp_core.networks import ResidualNet
from s2sharp_core.weights import SHIPPED, load_net, save_net

from .scenes import wild_dsen2


@pytest.fixture
def file(tmp_path):
    net = ResidualNet(20, features=3, blocks=1)
    torch.nn.init.normal_(net.tail.weight)
    save_net(net, tmp_path / "new folder" / "net.safetensors", {"licence": "Apache-2.0"})
    return tmp_path / "new folder" / "net.safetensors"


def refused(kind, file, expected=None):
    with pytest.raises(S2SharpError, match=file.name) as error:
        load_net(file, expected)
    assert error.value.kind == kind
    assert error.value.remedy


def test_a_net_comes_back_as_it_was(tmp_path):
    net = ResidualNet(60, features=3, blocks=2)
    torch.nn.init.normal_(net.tail.weight)
    sha256 = save_net(net, tmp_path / "net.safetensors", {})
    again, found = load_net(tmp_path / "net.safetensors", sha256)
    assert found == sha256
    assert (again.gsd, again.features, again.blocks) == (60, 3, 2)
    inputs = [torch.rand(1, len(b), *[4 * 60 // g] * 2) for g, b in BY_GSD.items()]
    assert torch.equal(again(*inputs), net(*inputs))
    assert not again.training


def test_the_card_says_what_the_weights_are(file):
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["licence"] == "Apache-2.0"
    assert card["network"] == {"kind": "residual", "gsd": 20, "features": 3, "blocks": 1}
    assert load_net(file)[1] == card["sha256"]


def test_one_flipped_bit_is_noticed(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    refused("weights-corrupt", file)


def test_other_weights_than_the_expected_ones_are_refused(file):
    refused("weights-corrupt", file, expected="0" * 64)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_weights_or_card_that_are_not_there_are_named(file, suffix):
    file.with_suffix(suffix).unlink()
    refused("weights-missing", file)


def test_a_card_that_is_no_json_is_no_card(file):
    file.with_suffix(".json").write_text("# dsen2")
    refused("weights-missing", file)


def rewritten(file, content=None, **facts):
    """With a card whose sha256 fits, so that only the content can be wrong."""
    import hashlib

    content = file.read_bytes() if content is None else content
    card = json.loads(file.with_suffix(".json").read_text())
    card |= {"sha256": hashlib.sha256(content).hexdigest(), **facts}
    file.write_bytes(content)
    file.with_suffix(".json").write_text(json.dumps(card))


def test_a_file_that_is_no_safetensors_is_refused(file):
    rewritten(file, b"PK\x03\x04 a pickle, perhaps")
    refused("weights-corrupt", file)


def test_weights_of_another_network_are_refused(file):
    rewritten(file, network={"kind": "residual", "gsd": 20, "features": 4, "blocks": 1})
    refused("weights-corrupt", file)


def test_a_card_without_network_is_refused(file):
    for network in ({"depth": 3}, {"kind": "residual", "depth": 3}, {"kind": "magic"}):
        rewritten(file, network=network)
        refused("weights-corrupt", file)


def test_the_shipped_weights_are_those_of_their_cards_and_small():
    for gsd in (20, 60):
        net, _ = load_net(SHIPPED / f"dsen2-{gsd}m.safetensors")
        assert net.config == {"gsd": gsd, "features": 48, "blocks": 6}  # as the card says: slim
    assert sum(file.stat().st_size for file in SHIPPED.glob("*.safetensors")) <= 8e6


def test_vdsen2_has_no_weights_until_it_is_given_some(tmp_path):
    with pytest.raises(S2SharpError, match="vdsen2") as error:
        load_sharpener("vdsen2", ["B05"])
    assert error.value.kind == "weights-missing"
    assert "s2sharp train --method vdsen2" in error.value.remedy
    assert "s2sharp weights import" in error.value.remedy
    net = ResidualNet(20, features=3, blocks=1)
    save_net(net, tmp_path / "vdsen2-20m.safetensors", {})
    assert load_sharpener("vdsen2", ["B05"], tmp_path).name == "vdsen2"


def test_a_sharpener_travels_as_a_name_and_comes_back_the_same(tmp_path):
    sharpener = wild_dsen2(tmp_path)
    parcel = pickle.dumps(sharpener)
    assert len(parcel) < 2000  # weights never travel in a task
    again = pickle.loads(parcel)
    assert again.digest == sharpener.digest
    inputs = [torch.rand(1, len(b), *[3 * 60 // g] * 2) for g, b in BY_GSD.items()]
    first, second = sharpener.sharpen(*inputs), again.sharpen(*inputs)
    assert all(torch.equal(first[band], second[band]) for band in sharpener.bands)


def test_a_worker_with_other_weights_refuses_to_go_on(tmp_path):
    parcel = pickle.dumps(wild_dsen2(tmp_path, blocks=2))
    wild_dsen2(tmp_path, blocks=1)  # somebody trains anew into the same folder
    with pytest.raises(S2SharpError) as error:
        pickle.loads(parcel)
    assert error.value.kind == "weights-corrupt"


def test_what_decides_the_output_decides_the_digest(tmp_path):
    ways = [
        load_sharpener("bicubic"),
        load_sharpener("bicubic", ["B05"]),
        load_sharpener("dsen2"),
        load_sharpener("dsen2", ["B05"]),
        wild_dsen2(tmp_path),
    ]
    assert len({way.digest for way in ways}) == len(ways)
    assert load_sharpener("dsen2").digest == ways[2].digest
