import numpy as np
import pytest
import torch

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS, ratio
from s2sharp_core.evaluation.metrics import sre
from s2sharp_core.learning.dsen2 import Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample

TINY = {"features": 4, "blocks": 1, "batch": 2, "patch": 2}


@pytest.fixture(scope="module")
def seen():
    return observe(landscape((96, 78), seed=5))  # 16 × 13 cells


@pytest.fixture(scope="module")
def synthetic():
    return {gsd: synthetic_pairs(2, gsd, cells=16, seed=50) for gsd in (20, 60)}


@pytest.mark.parametrize(("gsd", "cells"), [(20, (8, 6)), (60, (2, 2))])
def test_a_scene_seen_coarser_has_its_own_bands_as_truth(seen, gsd, cells):
    pair = wald_pair(seen, gsd)
    for g in GSDS:
        n = 60 // g
        assert pair.inputs[g].shape == (len(BY_GSD[g]), n * cells[0], n * cells[1])
    height, width = 6 * cells[0], 6 * cells[1]
    assert torch.equal(pair.truth, torch.from_numpy(seen[gsd][:, :height, :width]))
    expected = degrade(pair.truth[None], BY_GSD[gsd], ratio(gsd))[0]
    assert torch.equal(pair.inputs[gsd], expected)


def test_the_10_m_bands_of_a_pair_lie_on_its_truth(seen):
    """Truth and input of one ground: B8A of the truth and B08 of the input go up and down together."""
    pair = wald_pair(seen, 20)
    nir, input_nir = pair.truth[3], pair.inputs[10][3]
    aligned = np.corrcoef(nir[2:-2, 2:-2].ravel(), input_nir[2:-2, 2:-2].ravel())[0, 1]
    assert aligned > 0.97
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        moved = torch.roll(input_nir, shift, (0, 1))[2:-2, 2:-2].ravel()
        assert np.corrcoef(nir[2:-2, 2:-2].ravel(), moved)[0, 1] < aligned


def test_a_scene_too_small_to_be_seen_coarser_is_refused(seen):
    n = {10: 30, 20: 15, 60: 5}
    small = {g: y[:, : n[g], : n[g]] for g, y in seen.items()}
    assert wald_pair(small, 20).inputs[60].shape == (2, 2, 2)
    with pytest.raises(S2SharpError, match="degraded by 6") as error:
        wald_pair(small, 60)
    assert error.value.kind == "scene-too-small"


def test_nothing_to_train_on_is_said():
    with pytest.raises(S2SharpError) as error:
        train(Recipe(20, **TINY, steps=1), [], [])
    assert error.value.kind == "no-data"


def test_a_synthetic_pair_holds_the_known_truth_of_a_seed_of_its_own(synthetic):
    pair = synthetic[60][1]
    truth = landscape((96, 96), seed=10_051)
    assert torch.equal(pair.truth, torch.from_numpy(truth[[0, 9]]))
    assert pair.inputs[60].shape == (2, 16, 16)


@pytest.mark.parametrize("gsd", [20, 60])
def test_the_same_recipe_and_data_give_the_same_net(seen, synthetic, gsd):
    recipe = Recipe(gsd, **TINY, steps=4)
    first, second = (train(recipe, [wald_pair(seen, gsd)], synthetic[gsd]) for _ in range(2))
    other = train(Recipe(gsd, **TINY, steps=4, seed=1), [wald_pair(seen, gsd)], synthetic[gsd])
    assert all(
        torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize("gsd", [20, 60])
def test_a_little_training_beats_interpolation_on_a_landscape_not_seen(gsd):
    losses = []
    recipe = Recipe(gsd, features=12, blocks=1, steps=150, batch=3, patch=6, rate=4e-3)
    pairs = synthetic_pairs(3, gsd, cells=30, seed=60)
    net = train(recipe, [], pairs, lambda step, loss: losses.append((step, loss)))
    assert [step for step, _ in losses] == [50, 100, 150]
    assert losses[-1][1] < 0.85 * losses[0][1]
    (held,) = synthetic_pairs(1, gsd, cells=30, seed=90)
    with torch.inference_mode():
        inputs = {g: y[None] for g, y in held.inputs.items()}
        guess = net(*inputs.values())[0].numpy()
        floor = upsample(inputs[gsd], ratio(gsd))[0].numpy()
    truth = held.truth.numpy()
    assert (sre(guess, truth) - sre(floor, truth)).mean() > 1


def test_a_card_can_be_written_from_a_recipe():
    card = Recipe(20, steps=7).card()
    assert card["steps"] == 7
    assert Recipe(**card) == Recipe(20, steps=7)
