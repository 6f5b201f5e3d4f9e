"""Views: range, shape, determinism, what each switch does, and the invariant on the input."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import DYES, View, ViewPolicy
from hybrid_al.errors import InputError

# What studies and caches were made with: digest of the policy's name, the generator's next number, and of the views
# two pixels and the mean
STUDIED = [
    ("chest_xray", "pretrain", "0af9863174bed28e", 0.7262365, (0.629299, 0.831854, 0.522603)),
    ("chest_xray", "weak", "f92b934ccd2c1fbb", 0.3051000, (0.466955, 0.503566, 0.498726)),
    ("chest_xray", "strong", "bcc86fe75c8793b9", 0.6965050, (0.492723, 0.438386, 0.440143)),
    ("microscopy", "pretrain", "785e90e5e08f500f", 0.5459962, (0.262550, 0.620491, 0.469441)),
    ("microscopy", "weak", "cb8d990de1fd8137", 0.5845923, (0.407986, 0.483552, 0.499136)),
    ("microscopy", "strong", "8149d9b97baca705", 0.7496575, (0.300755, 0.416549, 0.475510)),
    ("dermoscopy", "pretrain", "e76ee1569ea73f9a", 0.5459962, (0.302472, 0.602221, 0.476208)),
    ("dermoscopy", "weak", "cb8d990de1fd8137", 0.5845923, (0.407986, 0.483552, 0.499136)),
    ("dermoscopy", "strong", "9672a2332787595d", 0.7496575, (0.340916, 0.406578, 0.482160)),
]


def images(n: int = 6, channels: int = 3, size: int = 20) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def draw(policy: View, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return policy(x, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("modality", VIEWS)
@pytest.mark.parametrize("kind", ["pretrain", "weak", "strong"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_policy_keeps_shape_and_range_and_depends_on_the_generator_alone(
    modality: str, kind: str, channels: int
) -> None:
    policy: ViewPolicy = getattr(VIEWS[modality], kind)
    x = images(channels=channels)
    before, state = x.clone(), torch.get_rng_state()
    first, again, other = draw(policy, x), draw(policy, x), draw(policy, x, seed=1)
    assert first.shape == x.shape and first.dtype == torch.float32
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("modality", "kind", "name", "next_draw", "sums"), STUDIED)
def test_policies_that_were_studied_stay_as_they_were(
    modality: str, kind: str, name: str, next_draw: float, sums: tuple[float, float, float]
) -> None:
    policy: ViewPolicy = getattr(VIEWS[modality], kind)
    generator = torch.Generator().manual_seed(0)
    views = policy(images(), generator)
    assert hashlib.sha256(f"{policy}".encode()).hexdigest()[:16] == name
    assert float(torch.rand(1, generator=generator)) == pytest.approx(next_draw, abs=1e-6)
    values = (float(views[1, 0, 3, 4]), float(views[5, 2, 16, 9]), float(views.mean()))
    assert values == pytest.approx(sums, abs=1e-5)


def test_a_policy_names_a_later_operation_only_where_it_is_used() -> None:
    assert "gamma" not in repr(ViewPolicy(crop=0.5)) and repr(ViewPolicy(erase=0.1)).endswith("noise=0.0, erase=0.1)")
    assert repr(ViewPolicy(gamma=0.5)).endswith("erase=0.0, gamma=0.5)")
    names = {repr(getattr(views, kind)) for views in VIEWS.values() for kind in ("pretrain", "weak", "strong")}
    # of the weak ones, dermoscopy's is microscopy's, ct's is mr's and X-ray's, and oct's is that of fundus
    assert len(names) == 3 * len(VIEWS) - 4


def test_the_empty_policy_is_the_identity() -> None:
    assert torch.equal(draw(ViewPolicy(), images()), images())


def test_flips_are_exact_mirrors() -> None:
    x = images(n=32)
    views = draw(ViewPolicy(hflip=True), x)
    for image, view in zip(x, views, strict=True):
        assert torch.allclose(view, image, atol=1e-5) or torch.allclose(view, image.flip(2), atol=1e-5)
    flipped = sum(torch.allclose(v, i.flip(2), atol=1e-5) for i, v in zip(x, views, strict=True))
    assert 4 < flipped < 28


def test_chest_xrays_are_never_upside_down() -> None:
    for kind in ("pretrain", "weak", "strong"):
        policy: ViewPolicy = getattr(VIEWS["chest_xray"], kind)
        assert not policy.vflip and policy.rotate <= 15


def test_what_has_a_side_or_a_top_keeps_it() -> None:
    for modality in ("ct", "mr", "fundus", "ultrasound", "oct", "mammography", "generic"):
        for kind in ("pretrain", "weak", "strong"):
            policy: ViewPolicy = getattr(VIEWS[modality], kind)
            assert not policy.vflip and policy.rotate <= 15
    kinds = [("ct", "pretrain")]
    kinds += [(m, kind) for m in ("chest_xray", "ct", "mr", "ultrasound", "generic") for kind in ("weak", "strong")]
    assert not any(getattr(VIEWS[modality], kind).hflip for modality, kind in kinds)


def test_ct_keeps_its_greys() -> None:
    flat = torch.full((64, 1, 32, 32), 0.4)
    for kind in ("pretrain", "weak", "strong"):
        views = draw(getattr(VIEWS["ct"], kind), flat)
        assert torch.allclose(views.mean(dim=(1, 2, 3)), torch.tensor(0.4), atol=0.01)


@pytest.mark.parametrize("modality", ["mr", "fundus", "ultrasound"])
def test_what_lies_outside_of_the_field_stays_black(modality: str) -> None:
    for kind in ("pretrain", "weak", "strong"):
        views = draw(getattr(VIEWS[modality], kind), torch.zeros(16, 3, 24, 24))
        assert float(views.mean()) < (
            0.02 if modality == "mr" else 1e-6
        )  # noise of a magnitude image is in the air too


def test_crop_shows_a_part_of_the_image() -> None:
    ramp = torch.linspace(0, 1, 32).expand(8, 1, 32, 32).contiguous()
    views = draw(ViewPolicy(crop=0.2), ramp)
    spread = views.amax(dim=(1, 2, 3)) - views.amin(dim=(1, 2, 3))
    assert float(spread.min()) < 0.8 and float(spread.max()) <= 1


def test_brightness_scales_every_image_by_its_own_factor() -> None:
    x = torch.full((16, 1, 4, 4), 0.5)
    levels = draw(ViewPolicy(brightness=0.4), x)[:, 0, 0, 0]
    assert len(set(levels.tolist())) == 16
    assert float(levels.min()) >= 0.3 - 1e-6 and float(levels.max()) <= 0.7 + 1e-6


def test_dropping_the_colour_leaves_grey() -> None:
    views = draw(ViewPolicy(gray=1.0), images())
    assert torch.allclose(views[:, 0], views[:, 1], atol=1e-6)


def test_erase_paints_a_square_with_the_mean() -> None:
    x = images(n=16, size=32)
    changed = (draw(ViewPolicy(erase=0.5), x) != x).any(dim=1)
    sides = []
    for image in changed:
        rows, columns = image.any(dim=1).nonzero().flatten(), image.any(dim=0).nonzero().flatten()
        assert image.sum() == len(rows) * len(columns)
        sides += [len(rows), len(columns)]
    assert 8 <= max(sides) <= 17


@pytest.mark.parametrize("bad", [images() * 2, images() - 1, images().double(), images() * float("nan")])
def test_images_outside_the_unit_range_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InputError, match="views: expected"):
        draw(VIEWS["microscopy"].weak, bad)


@pytest.mark.parametrize("bad", [images()[0], images()[:0], images()[..., :0]])
def test_what_is_no_batch_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"views: expected a batch of images \(B, C, H, W\), got shape"):
        draw(VIEWS["ct"].weak, bad)


def test_gamma_bends_greys_by_a_power_within_its_limits_and_keeps_black_and_white() -> None:
    x = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(64, 1, 1, 4).contiguous()
    views = draw(ViewPolicy(gamma=0.4), x)
    assert torch.equal(views[..., 0], x[..., 0]) and torch.equal(views[..., 3], x[..., 3])
    exponents = views.log() / x.log()
    assert torch.allclose(exponents[..., 1], exponents[..., 2], atol=1e-4)
    spread = exponents[:, 0, 0, 1].log()
    assert -0.4 <= float(spread.min()) < -0.3 and 0.3 < float(spread.max()) <= 0.4


def test_the_bias_field_is_smooth_positive_and_no_larger_than_said() -> None:
    field = draw(ViewPolicy(bias=0.3), torch.full((64, 2, 32, 32), 0.5)) / 0.5
    assert torch.equal(field[:, 0], field[:, 1])
    log = field[:, 0].log()
    assert float(log.abs().max()) <= 0.3 + 1e-5 and float(log.abs().amax(dim=(1, 2)).max()) > 0.25
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, 32)], indexing="ij")
    cubic = np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], axis=-1).reshape(-1, 10)
    for logs in log.numpy():
        coefficients = np.linalg.lstsq(cubic, logs.ravel(), rcond=None)[0]
        np.testing.assert_allclose(cubic @ coefficients, logs.ravel(), atol=1e-4)


def test_speckle_grows_with_the_grey_and_has_grains() -> None:
    x = torch.zeros(64, 3, 32, 32)
    x[..., 16:] = 0.4
    views = draw(ViewPolicy(speckle=0.2), x)
    assert torch.equal(views[..., :16], x[..., :16]) and torch.equal(views[:, 0], views[:, 2])
    noise = (views[:, 0, :, 16:] / 0.4 - 1).numpy()
    inner = noise[:, 3:-3, 3:-3]
    assert inner.std() == pytest.approx(0.2 / math.sqrt(3), rel=0.1)  # standard deviations are uniform in 0 to 0.2
    assert abs(inner.mean()) < 0.01
    assert 0.3 < pearsonr(inner[:, 1:].ravel(), inner[:, :-1].ravel()).statistic < 0.8


def test_stain_changes_the_amount_of_each_dye_alone() -> None:
    rng = np.random.default_rng(0)
    amounts = torch.from_numpy(rng.uniform(0, 0.5, size=(48, 30, 3)))
    amounts[:, 0] = 0  # bare glass
    x = (-(amounts @ torch.tensor(DYES, dtype=torch.float64))).exp().float().transpose(1, 2).reshape(48, 3, 5, 6)
    views = draw(ViewPolicy(stain=0.2), x)
    density = -views.flatten(2).transpose(1, 2).double().clamp(min=1e-9).log()
    dye = torch.linalg.solve(torch.tensor(DYES, dtype=torch.float64).T, density.mT).mT
    for i in range(48):
        for d in range(3):
            slope, shift = np.polyfit(amounts[i, 1:, d].numpy(), dye[i, 1:, d].numpy(), 1)
            np.testing.assert_allclose(slope * amounts[i, 1:, d] + shift, dye[i, 1:, d], atol=0.02)
            assert 0.78 < slope < 1.22 and abs(shift) < 0.03
    assert float(views[:, :, 0, 0].min()) > 0.95  # the glass stays bare
    assert torch.equal(draw(ViewPolicy(stain=0.2), images(channels=1)), images(channels=1))


def test_no_stain_change_is_no_change() -> None:
    x = images().clamp(1 / 255, 1)
    assert torch.allclose(draw(ViewPolicy(stain=1e-9), x), x, atol=1e-5)
    black = draw(ViewPolicy(stain=0.2), torch.zeros(8, 3, 4, 4))
    assert torch.isfinite(black).all() and float(black.max()) < 0.1
