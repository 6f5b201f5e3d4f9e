"""Encoders: any timm network, or a custom one, as a function from images in [0, 1] to embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from ..core.registry import member
from ..errors import InputError, UnknownName
from .checkpoint import load_into, load_weights, without_prefix
from .pretrained import PRETRAINED, Option, create, fitted_backbone, pretrained_backbone

ENCODERS: dict[str, Callable[..., nn.Module]] = {}
"""Custom encoders, by names that timm does not have; from outside: `package.module:make`.

`make(channels=, image_size=, **options)` returns a network without a classifier, normalised images (B, channels, H, W)
-> embeddings (B, D). Random weights come from torch's global generator, which is seeded before and restored after;
`image_size` is that of `encoder.input_size` where images are scaled. The same arguments give the same tensors.
"""

Pool = Literal["stages", "centre"]


class Encoder(nn.Module):
    """images (B, C, H, W) in [0, 1] -> embeddings (B, D).

    `mean` and `std` (1, C, 1, 1) normalise the images as the weights expect: buffers, which are saved and loaded with
    the weights but not trained. Values for another number of channels are averaged.
    input_size  side to which images are scaled first; 0: they are not scaled
    pool        what stands before the network's own output, shallow to deep; None: nothing. `stages`: the mean of each
                stage's feature maps. `centre`: that, and their mean over the middle half of height and width: how the
                thing in the middle differs from what is around it
    identity    name and options that decide the embeddings beside the weights, for digests; empty where weights suffice
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        *,
        input_size: int = 0,
        identity: str = "",
    ) -> None:
        super().__init__()
        self.backbone, self.input_size, self.identity = backbone, input_size, identity
        self.pool: Pool | None = None
        self.register_buffer("mean", _per_channel(mean, channels))
        self.register_buffer("std", _per_channel(std, channels))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D)."""
        images = self.normalize(images)
        return _all_stages(self.backbone, images, self.pool) if self.pool else cast(Tensor, self.backbone(images))

    def normalize(self, images: Tensor) -> Tensor:
        """Input of the backbone (B, C, H, W), or (B, C, input_size, input_size)."""
        if self.input_size and tuple(images.shape[-2:]) != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        return (images - mean) / std


def check_name(name: str, where: str = "encoder") -> None:
    """Refuse an unknown name of an encoder.

    Names are those of `ENCODERS`, of timm (resnet18 or, with the tag of its weights, resnet18.a1_in1k), or from outside
    (`package.module:make`).
    """
    if is_custom(name):
        member(ENCODERS, f"{where}.name", name)
    elif name not in (names := timm.list_models()) and name not in (tagged := timm.list_models(pretrained=True)):
        raise UnknownName(f"{where}.name", name, [*ENCODERS, *(tagged if "." in name else names)])


def is_custom(name: str) -> bool:
    """Whether a name is of `ENCODERS` or from outside, not of timm."""
    return ":" in name or name in ENCODERS


def build_encoder(
    name: str,
    *,
    channels: int,
    image_size: int,
    seed: int,
    weights: Path | str | None = None,
    options: Mapping[str, Option] | None = None,
    input_size: int | None = None,
    pool: Pool | None = None,
) -> Encoder:
    """A network without its classifier: from random weights, from `pretrained` ones, or from a file.

    The file comes from a stage 0, or is a release for this architecture; see `load_weights` and `fitted_backbone`. With
    released weights comes the normalisation of timm's entry of that name.
    `options` go to timm, or to a network of `ENCODERS`, as they are. Networks of timm of one fixed input size, such as
    vision transformers, get that of the images, or `input_size`, to which images are scaled; positions and patches of
    the weights are fitted to it. `pool`: what becomes the embedding beside the network's own output, see `Encoder`.
    Errors: an unknown name (the nearest is named), an option that the network does not take, weights of another
    architecture, pretrained weights that are not available, images too small for the net or not whole patches.
    """
    check_name(name)
    custom, size = is_custom(name), input_size or image_size
    facts = None if custom else timm.get_pretrained_cfg(name)
    fixed = facts is not None and facts.fixed_input_size
    # a convolutional network without options is identified by its weights alone, as in older runs
    description = {"name": name, "options": dict(options or {}), "input_size": input_size or 0}
    if pool:
        description["pool"] = pool
    identity = json.dumps(description, sort_keys=True) if fixed or custom or options or input_size or pool else ""
    if custom:
        encoder = _custom_encoder(name, channels, size, seed, weights, options or {})
    else:
        encoder = _timm_encoder(
            name, channels, seed, weights, {**({"img_size": size} if fixed else {}), **(options or {})}
        )
    encoder.input_size, encoder.identity, encoder.pool = input_size or 0, identity, pool
    if pool and not hasattr(encoder.backbone, "forward_intermediates"):
        raise InputError("encoder.pool", "a network of timm that gives its stages", name)
    where = "encoder.input_size" if input_size else "data.image_size"
    patch = getattr(getattr(encoder.backbone, "patch_embed", None), "patch_size", None)
    if patch and any(size % side for side in patch):
        multiple = -(-size // patch[0]) * patch[0]
        came = f"{size}, with patches of {patch[0]}; encoder.input_size={multiple} scales them, and "
        raise InputError(
            where, f"images that {name} can take: whole patches", came + "encoder.options={patch_size: 4} cuts others"
        )
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(2, channels, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(where, f"images that {name} can take", f"{size}: {reason}") from error
    return encoder.to(memory_format=torch.channels_last)


def _custom_encoder(
    name: str, channels: int, size: int, seed: int, weights: Path | str | None, options: Mapping[str, Option]
) -> Encoder:
    """A network of `ENCODERS` or from outside, with random weights or exactly those of a stage 0."""
    if weights == PRETRAINED:
        raise InputError("encoder.weights", f"null or a file: {name} brings no weights of others", PRETRAINED)
    tensors = None if weights is None else load_weights(Path(weights))
    make: Callable[..., nn.Module] = member(ENCODERS, "encoder.name", name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = make(channels=channels, image_size=size, **options)
    except (TypeError, ValueError) as error:
        raise InputError("encoder.options", f"what {name} takes", f"{dict(options)}: {error}"[:200]) from error
    encoder = Encoder(backbone, channels)
    if tensors is not None:
        load_into(encoder, tensors, weights)
    return encoder


def _timm_encoder(
    name: str, channels: int, seed: int, weights: Path | str | None, options: Mapping[str, Option]
) -> Encoder:
    """A network of timm with random weights, pretrained ones, or those of a file."""
    try:
        if weights == PRETRAINED:
            return _normalised(pretrained_backbone(name, channels, options), channels)
        tensors = None if weights is None else load_weights(Path(weights))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if tensors is not None and not _is_stage0_file(tensors):
                return _normalised(fitted_backbone(name, channels, options, tensors, weights), channels)
            encoder = Encoder(create(name, channels, options), channels)
            if tensors is None:
                return encoder
            return _from_stage0(encoder, name, channels, options, tensors, weights)
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        choices = ", ".join(f"{key}={value}" for key, value in options.items())
        reason = str(error).partition("\n")[0]
        raise InputError("encoder.options", f"what {name} takes", f"{choices}: {reason}") from error


def _normalised(backbone: nn.Module, channels: int) -> Encoder:
    """An encoder with the normalisation of the published weights."""
    facts = cast(dict[str, Any], backbone.pretrained_cfg)
    return Encoder(backbone, channels, facts["mean"], facts["std"])


def _is_stage0_file(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are those of a stage 0: an encoder with its normalisation."""
    return all(key in ("mean", "std") or key.startswith("backbone.") for key in tensors) and "mean" in tensors


def _from_stage0(
    encoder: Encoder,
    name: str,
    channels: int,
    options: Mapping[str, Option],
    tensors: Mapping[str, Tensor],
    where: object,
) -> Encoder:
    """The encoder exactly as it was saved, or fitted to images of another size or other channels."""
    expected = encoder.state_dict()
    if expected.keys() == tensors.keys() and all(expected[key].shape == tensors[key].shape for key in expected):
        encoder.load_state_dict(dict(tensors))
        return encoder
    mean, std = tensors["mean"].flatten(), tensors["std"].flatten()
    inner = without_prefix("backbone", tensors)
    backbone = fitted_backbone(name, channels, options, inner, where, channels_before=len(mean))
    return Encoder(backbone, channels, mean.tolist(), std.tolist())


def _all_stages(backbone: nn.Module, images: Tensor, pool: Pool) -> Tensor:
    """Means of the feature maps of each stage, and the output of the network: (B, channels of all)."""
    network = cast(Any, backbone)
    last, maps = network.forward_intermediates(images)
    means = [x.mean(dim=(2, 3)) for x in maps if x is not last]  # the mean of the last may be the output itself
    if pool == "centre":
        means += [_centre(x).mean(dim=(2, 3)) for x in maps]
    return torch.cat([*means, network.forward_head(last)], dim=1)


def _centre(maps: Tensor) -> Tensor:
    """The middle half of height and width, rounded up."""
    height, width = maps.shape[-2:]
    return maps[..., height // 4 : height - height // 4, width // 4 : width - width // 4]


def _per_channel(values: Sequence[float], channels: int) -> Tensor:
    """The values (1, C, 1, 1), or their average where there are not `channels` of them."""
    if len(values) != channels:
        values = [sum(values) / len(values)] * channels
    return torch.tensor(values, dtype=torch.float32).view(1, channels, 1, 1)
