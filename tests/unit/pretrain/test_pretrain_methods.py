"""Losses of stage 0 against plain loops over single images; teachers; encoders that a method cannot use; records."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from lightly.loss import DINOLoss
from lightly.models.modules import MaskedVisionTransformerTIMM
from torch import Tensor, nn

from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.errors import InputError
from hybrid_al.models.checkpoint import seeded
from hybrid_al.models.encoder import Encoder, build_encoder
from pretrain import METHODS
from pretrain.base import Loss, Method, rising
from pretrain.byol import BYOL
from pretrain.densecl import DenseCL
from pretrain.dino import DINO
from pretrain.mae import MAE
from pretrain.moco_v3 import MoCoV3
from pretrain.records import Records
from pretrain.rotation import Rotation
from pretrain.simclr import SimCLR

VIT = {"patch_size": 4, "depth": 2, "embed_dim": 32, "num_heads": 2}
VIEWS = ViewPolicy(brightness=0.5, hflip=True)
B = 6


def vit(channels: int = 1, size: int = 16) -> Encoder:
    return build_encoder("vit_tiny_patch16_224", channels=channels, image_size=size, seed=0, options=VIT)


def images(channels: int = 1, size: int = 16, count: int = B) -> Tensor:
    return torch.rand(count, channels, size, size, generator=seeded(1))


def network_of(method: Method, encoder: Encoder | None = None) -> nn.ModuleDict:
    """The network with a teacher that differs from its student, as after a few steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = method.network(encoder or vit(), images(count=2)).train()
        for name, values in network.named_parameters():
            if "teacher" in name or (isinstance(method, DINO) and name.startswith("encoder")):
                values.data += 0.1 * torch.randn(values.shape)
    return network


def loss_of(method: Method, network: nn.ModuleDict, progress: float = 0.5) -> Loss:
    return method.loss(network, images(), VIEWS, seeded(3), progress)


def two_views() -> tuple[Tensor, Tensor]:
    """The two views that `loss_of` draws."""
    generator = seeded(3)
    return VIEWS(images(), generator), VIEWS(images(), generator)


def through(network: nn.ModuleDict, *names: str) -> list[list[float]]:
    """Outputs (2B, d) of modules of a network, one after another, for both views as one batch."""
    x = torch.cat(two_views())
    with torch.no_grad():
        for name in names:
            x = network[name](x)
    return cast(list[list[float]], x.tolist())


def submodule(network: nn.ModuleDict, name: str) -> nn.ModuleDict:
    return cast(nn.ModuleDict, network[name])


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x - max(logits)) for x in logits]
    return [p / sum(powers) for p in powers]


def assert_loss(loss: Loss, per_sample: list[float], confidence: list[float] | None = None) -> None:
    assert loss.per_sample is not None
    assert loss.per_sample.tolist() == pytest.approx(per_sample, rel=1e-3, abs=1e-5)
    assert loss.total.item() == pytest.approx(sum(per_sample) / len(per_sample), rel=1e-3)
    assert (loss.confidence is None) == (confidence is None)
    if loss.confidence is not None and confidence is not None:
        assert loss.confidence.tolist() == pytest.approx(confidence, rel=1e-3, abs=1e-6)


def test_simclr_contrasts_each_view_with_all_others() -> None:
    method = SimCLR(hidden=16, out=8)
    network = network_of(method)
    z = [unit(row) for row in through(network, "encoder", "head")]
    confidences = []
    for i in range(2 * B):
        others = [j for j in range(2 * B) if j != i]
        confidences.append(softmax([dot(z[i], z[j]) / 0.2 for j in others])[others.index((i + B) % (2 * B))])
    per_sample = [-(math.log(confidences[i]) + math.log(confidences[i + B])) / 2 for i in range(B)]
    assert_loss(loss_of(method, network), per_sample, [(confidences[i] + confidences[i + B]) / 2 for i in range(B)])


def test_byol_predicts_the_teacher_of_the_other_view() -> None:
    method = BYOL(hidden=16, out=8)
    network = network_of(method)
    p = [unit(row) for row in through(network, "encoder", "head", "predict")]
    z = [unit(row) for row in through(submodule(network, "teacher"), "encoder", "head")]
    squared = [sum((x - y) ** 2 for x, y in zip(p[i], z[(i + B) % (2 * B)], strict=True)) for i in range(2 * B)]
    assert_loss(loss_of(method, network), [squared[i] + squared[i + B] for i in range(B)])


def test_moco_v3_finds_its_own_key_among_the_batch() -> None:
    method = MoCoV3(hidden=16, out=8)
    network = network_of(method)
    q = [unit(row) for row in through(network, "encoder", "head", "predict")]
    k = [unit(row) for row in through(submodule(network, "teacher"), "encoder", "head")]
    first = [softmax([dot(q[i], k[B + j]) / 0.2 for j in range(B)])[i] for i in range(B)]
    second = [softmax([dot(q[B + i], k[j]) / 0.2 for j in range(B)])[i] for i in range(B)]
    per_sample = [-2 * 0.2 * (math.log(a) + math.log(b)) for a, b in zip(first, second, strict=True)]
    assert_loss(loss_of(method, network), per_sample, [(a + b) / 2 for a, b in zip(first, second, strict=True)])


def test_dino_matches_the_centred_codes_of_the_teacher() -> None:
    method = DINO(hidden=16, bottleneck=8, codes=12)
    network = network_of(method)
    center = torch.linspace(-0.2, 0.2, 12)
    network["center"].center = center[None].clone()
    s, t = through(submodule(network, "student"), "encoder", "head"), through(network, "encoder", "head")
    costs = []
    for i in range(2 * B):
        target = softmax([(x - float(c)) / 0.04 for x, c in zip(t[(i + B) % (2 * B)], center, strict=True)])
        costs.append(-dot(target, [math.log(p) for p in softmax([x / 0.1 for x in s[i]])]))
    assert_loss(loss_of(method, network), [(costs[i] + costs[i + B]) / 2 for i in range(B)])

    mean = [sum(row[k] for row in t) / (2 * B) for k in range(12)]
    moved = [0.9 * float(c) + 0.1 * m for c, m in zip(center, mean, strict=True)]
    assert network["center"].center[0].tolist() == pytest.approx(moved, rel=1e-3, abs=1e-5)

    theirs = DINOLoss(12, teacher_temp=0.04, student_temp=0.1)
    theirs.center = center[None, None].clone()
    value = theirs(list(torch.tensor(t).chunk(2)), list(torch.tensor(s).chunk(2)))
    assert float(value) == pytest.approx(sum(costs) / (2 * B), rel=1e-3)


def test_dino_keeps_its_last_layer_in_the_first_epoch_and_returns_the_teacher() -> None:
    method, encoder = DINO(hidden=16, bottleneck=8, codes=12, epochs=4), vit()
    network = network_of(method, encoder)
    assert network["encoder"] is encoder
    last = cast(nn.Module, submodule(network, "student")["head"].last_layer)
    for progress, trained in ((0.0, False), (0.24, False), (0.25, True), (0.9, True)):
        network.zero_grad(set_to_none=True)
        loss_of(method, network, progress).total.backward()  # type: ignore[no-untyped-call]
        assert (cast(nn.Parameter, last.weight_v).grad is not None) == trained
        assert all(p.grad is None for p in encoder.parameters())


def test_rotation_names_the_quarter_turns() -> None:
    method = Rotation()
    network, policy = network_of(method), ViewPolicy(hflip=True, vflip=True, rotate=90)
    upright = ViewPolicy(hflip=True)(images(), seeded(3))
    confidences = []
    for i in range(B):
        of_one = []
        for turns in range(4):
            turned = torch.from_numpy(np.rot90(upright[i].numpy(), turns, (1, 2)).copy())
            logits = network["head"](network["encoder"](turned[None]))[0].tolist()
            of_one.append(softmax(logits)[turns])
        confidences.append(of_one)
    per_sample = [-sum(map(math.log, row)) / 4 for row in confidences]
    assert_loss(
        method.loss(network, images(), policy, seeded(3), 0.0), per_sample, [sum(row) / 4 for row in confidences]
    )


def test_rotation_is_learnt_where_images_have_an_upright() -> None:
    method = Rotation()
    network = network_of(method)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    gradient = torch.linspace(1, 0, 16).view(1, 1, 16, 1) * torch.linspace(0.4, 1, 16).view(16, 1, 1, 1)
    bright_above = gradient.expand(16, 1, 16, 16).contiguous()
    for _ in range(40):
        loss = method.loss(network, bright_above, ViewPolicy(), seeded(0), 0.0)
        optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.total.item() < 0.1
    assert loss.confidence is not None and loss.confidence.min().item() > 0.8


@pytest.mark.parametrize("normalize", [True, False])
def test_mae_predicts_the_hidden_patches(normalize: bool) -> None:
    method = MAE(width=16, heads=2, normalize=normalize)
    network, patches = network_of(method), 16
    loss = method.loss(network, images(), ViewPolicy(brightness=1), seeded(3), 0.0)  # colour takes no part

    order = torch.rand(B, patches, generator=seeded(3)).argsort(dim=1)
    encoder, decoder = cast(Encoder, network["encoder"]), network["decoder"]
    masked = cast(MaskedVisionTransformerTIMM, network["masked"])
    plain = encoder.normalize(images())
    per_sample = []
    for i in range(B):
        visible, hidden = order[i, :4].tolist(), order[i, 4:].tolist()
        tokens = masked.encode(plain[i : i + 1], idx_keep=torch.tensor([[0, *(k + 1 for k in visible)]]))
        tokens = network["into"](tokens)[0]
        row = cast(Tensor, decoder.mask_token)[0].repeat(patches + 1, 1)
        for place, token in zip([0, *(k + 1 for k in visible)], tokens, strict=True):
            row[place] = token
        prediction = network["paint"](decoder(row[None]))[0]
        costs = []
        for k in hidden:
            y, x = 4 * (k // 4), 4 * (k % 4)
            pixels = plain[i, 0, y : y + 4, x : x + 4].flatten().tolist()
            if normalize:
                mean = sum(pixels) / 16
                deviation = math.sqrt(sum((p - mean) ** 2 for p in pixels) / 15 + 1e-6)
                pixels = [(p - mean) / deviation for p in pixels]
            costs += [(a - b) ** 2 for a, b in zip(prediction[k + 1].tolist(), pixels, strict=True)]
        per_sample.append(sum(costs) / len(costs))
    assert_loss(loss, per_sample)


def test_densecl_contrasts_places_and_images() -> None:
    method = DenseCL(hidden=16, out=8, share=0.3)
    network = network_of(method)
    query, key = two_views()

    def outputs(of: nn.ModuleDict, x: Tensor) -> tuple[list[list[float]], list[list[list[float]]], Tensor]:
        encoder = cast(Encoder, of["encoder"])
        with torch.no_grad():
            tokens = encoder.backbone.forward_features(encoder.normalize(x))[:, 1:]  # type: ignore[operator]
            whole, dense = of["image"](encoder(x)).tolist(), of["dense"](tokens).tolist()
        return [unit(v) for v in whole], [[unit(v) for v in row] for row in dense], tokens

    q, q_dense, features = outputs(network, query)
    k, k_dense, others = outputs(submodule(network, "teacher"), key)
    pooled = [unit([sum(v[d] for v in row) for d in range(8)]) for row in k_dense]
    per_sample, confidences = [], []
    for i in range(B):
        confidences.append(softmax([dot(q[i], k[j]) / 0.2 for j in range(B)])[i])
        dense = 0.0
        for s in range(16):
            alike = [dot(unit(features[i, s].tolist()), unit(o.tolist())) for o in others[i]]
            positive = dot(q_dense[i][s], k_dense[i][alike.index(max(alike))])
            logits = [positive, *(dot(q_dense[i][s], pooled[j]) for j in range(B) if j != i)]
            dense -= math.log(softmax([x / 0.2 for x in logits])[0]) / 16
        per_sample.append(-0.7 * math.log(confidences[i]) + 0.3 * dense)
    assert_loss(loss_of(method, network), per_sample, confidences)


@pytest.mark.parametrize(
    "method", [BYOL(out=8), MoCoV3(out=8), DenseCL(out=8), DINO(codes=8)], ids=lambda m: type(m).__name__
)
def test_teachers_get_no_gradient_follow_their_students_and_keep_their_own_batch_norm(method: Method) -> None:
    encoder = build_encoder("resnet10t", channels=1, image_size=16, seed=0, options={"output_stride": 8})
    network = network_of(method, encoder)
    if isinstance(method, DINO):
        student, teacher = submodule(network, "student"), nn.ModuleDict({"encoder": encoder, "head": network["head"]})
    else:
        student, teacher = network, submodule(network, "teacher")
    ran = [b.clone() for n, b in teacher.named_buffers() if n.endswith("running_mean")]
    loss_of(method, network).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student["encoder"].parameters())
    assert teacher.training and ran
    now = [b for n, b in teacher.named_buffers() if n.endswith("running_mean")]
    assert all(not torch.equal(a, b) for a, b in zip(ran, now, strict=True))

    before = {name: values.clone() for name, values in teacher.state_dict().items()}
    method.after_step(network, 0.5)
    momentum, named = 1 - 0.01 * 0.5, dict(teacher.named_parameters())
    for name, values in teacher.state_dict().items():
        expected = before[name]
        if name in named:
            expected = momentum * before[name] + (1 - momentum) * student.state_dict()[name]
        assert torch.allclose(values, expected, atol=1e-6), name


def test_momentum_climbs_from_its_start_to_one() -> None:
    assert rising(0.9, 0.0) == pytest.approx(0.9) and rising(0.9, 0.5) == pytest.approx(0.95)
    assert rising(0.9, 1.0) == 1.0


def test_encoders_that_a_method_cannot_use_are_named() -> None:
    cnn = build_encoder("resnet10t", channels=1, image_size=16, seed=0)
    with pytest.raises(InputError, match=r"encoder\.name: expected a vision transformer for mae .*, got ResNet"):
        MAE().network(cnn, images(count=2))
    with pytest.raises(
        InputError, match=r"feature map of at least 2 x 2 for densecl \(encoder\.options=\{output_stride"
    ):
        DenseCL().network(cnn, images(count=2))
    whole = build_encoder("vit_tiny_patch16_224", channels=1, image_size=16, seed=0, options={**VIT, "patch_size": 16})
    with pytest.raises(InputError, match=r"patches to see and to mask at mask=0\.75; .*, got 1 in all"):
        MAE().network(whole, images(count=2))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 64)])
def test_every_size_and_number_of_channels(name: str, channels: int, size: int) -> None:
    method, batch = METHODS[name](), images(channels, size, 4)
    network = method.network(vit(channels, size), batch[:2]).train()
    assert torch.isfinite(method.loss(network, batch, VIEWS, seeded(0), 0.0).total)


def test_records_are_means_and_deviations_over_the_epochs() -> None:
    rng = np.random.default_rng(0)
    records, visits = Records(5), {i: list[tuple[float, float]]() for i in range(5)}
    for rows in ([0, 1], [2, 3], [3, 0], [1, 3], [0, 3]):
        cost, confidence = rng.random(2), rng.random(2)
        records.add(np.asarray(rows), Loss(torch.zeros(()), torch.from_numpy(cost), torch.from_numpy(confidence)))
        for i, a, b in zip(rows, cost, confidence, strict=True):
            visits[i].append((a, b))
    arrays = records.arrays()
    assert arrays["epochs_seen"].tolist() == [3, 2, 1, 4, 0]
    for i in range(4):
        mean = sum(b for _, b in visits[i]) / len(visits[i])
        assert arrays["pretext_loss"][i] == visits[i][-1][0] and arrays["confidence"][i] == pytest.approx(mean)
        spread = math.sqrt(sum((b - mean) ** 2 for _, b in visits[i]) / len(visits[i]))
        assert arrays["variability"][i] == pytest.approx(spread, abs=1e-7)
    assert all(np.isnan(arrays[name][4]) for name in ("pretext_loss", "confidence", "variability"))

    again = Records(5)
    again.restore(records.state())
    assert all(np.array_equal(again.arrays()[k], v, equal_nan=True) for k, v in arrays.items())
    nothing = Records(5)
    nothing.add(np.arange(2), Loss(torch.zeros(())))
    assert nothing.arrays() == {}
