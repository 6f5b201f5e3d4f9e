"""Encoders: any timm network, or one of your own, as a function from images in [0, 1] to embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from ..core.registry import member
from ..errors import InputError, UnknownName
from .checkpoint import load_into, load_weights, without_prefix
from .pretrained import PRETRAINED, Option, create, fitted_backbone, pretrained_backbone

ENCODERS: dict[str, Callable[..., nn.Module]] = {}
"""Encoders beside timm's, by a name that timm has not; from outside: `package.module:make`.

`make(channels=, image_size=, **options)` gives a network without a classifier, normalised images (B, channels, H, W) ->
embeddings (B, D). Random weights come from torch's global generator, which is seeded before and put back after;
`image_size` is that of `encoder.input_size` where images are scaled. Two networks made alike have the same tensors.
"""


class Encoder(nn.Module):
    """images (B, C, H, W) in [0, 1] -> embeddings (B, D).

    `mean` and `std` (1, C, 1, 1) normalise the images as the weights expect it: buffers, so they are saved and loaded
    with the weights, and nothing trains them. Numbers for other than C channels are averaged.
    input_size  side to which images are scaled first; 0 = they are taken as they come
    made_as     what decides the embeddings beside the weights, for digests; empty where those tell all
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        *,
        input_size: int = 0,
        made_as: str = "",
    ) -> None:
        super().__init__()
        self.backbone, self.input_size, self.made_as = backbone, input_size, made_as
        self.register_buffer("mean", _per_channel(mean, channels))
        self.register_buffer("std", _per_channel(std, channels))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D)."""
        return cast(Tensor, self.backbone(self.normalize(images)))

    def normalize(self, images: Tensor) -> Tensor:
        """What the backbone gets (B, C, H, W), or (B, C, input_size, input_size)."""
        if self.input_size and tuple(images.shape[-2:]) != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        return (images - mean) / std


def check_name(name: str, where: str = "encoder") -> None:
    """Refuse what no encoder is called.

    Names are those of `ENCODERS`, of timm (resnet18 or, with the tag of its weights, resnet18.a1_in1k), or from outside
    (`package.module:make`).
    """
    if is_own(name):
        member(ENCODERS, f"{where}.name", name)
    elif name not in (known := timm.list_models()) and name not in (tagged := timm.list_models(pretrained=True)):
        raise UnknownName(f"{where}.name", name, [*ENCODERS, *(tagged if "." in name else known)])


def is_own(name: str) -> bool:
    """Whether an encoder is one of `ENCODERS` or from outside, not one of timm."""
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
) -> Encoder:
    """A network without its classifier: from random weights, from `pretrained` ones, or from a file.

    The file is that of a stage 0, or one that others published for this architecture; see `load_weights` and
    `fitted_backbone`. Published weights bring the normalisation of timm's entry of that name with them.
    `options` go to timm, or to a network of `ENCODERS`, as they are. Networks of timm of one fixed input size, such as
    vision transformers, get that of the images, or `input_size`, to which images are scaled; positions and patches of
    the weights are fitted to it.
    Errors: an unknown name (the nearest is named), an option that the network does not take, weights of another
    architecture, pretrained weights that are not to be had, images too small for the net or not whole patches.
    """
    check_name(name)
    own, size = is_own(name), input_size or image_size
    facts = None if own else timm.get_pretrained_cfg(name)
    fixed = facts is not None and facts.fixed_input_size
    # a convolutional network without options is told by its weights, as it was before there was more to tell
    told = {"name": name, "options": dict(options or {}), "input_size": input_size or 0}
    made_as = json.dumps(told, sort_keys=True) if fixed or own or options or input_size else ""
    if own:
        encoder = _own(name, channels, size, seed, weights, options or {})
    else:
        encoder = _made(name, channels, seed, weights, {**({"img_size": size} if fixed else {}), **(options or {})})
    encoder.input_size, encoder.made_as = input_size or 0, made_as
    where = "encoder.input_size" if input_size else "data.image_size"
    patch = getattr(getattr(encoder.backbone, "patch_embed", None), "patch_size", None)
    if patch and any(size % side for side in patch):
        whole = -(-size // patch[0]) * patch[0]
        found = f"{size}, with patches of {patch[0]}; encoder.input_size={whole} scales them, and "
        raise InputError(
            where, f"images that {name} can take: whole patches", found + "encoder.options={patch_size: 4} cuts others"
        )
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(2, channels, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(where, f"images that {name} can take", f"{size}: {reason}") from error
    return encoder.to(memory_format=torch.channels_last)


def _own(
    name: str, channels: int, size: int, seed: int, weights: Path | str | None, options: Mapping[str, Option]
) -> Encoder:
    """A network of `ENCODERS` or from outside, with random weights or those of a stage 0, bit by bit."""
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


def _made(name: str, channels: int, seed: int, weights: Path | str | None, options: Mapping[str, Option]) -> Encoder:
    """The network with the weights that it is to start from."""
    try:
        if weights == PRETRAINED:
            return _normalised(pretrained_backbone(name, channels, options), channels)
        tensors = None if weights is None else load_weights(Path(weights))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if tensors is not None and not _is_own(tensors):
                return _normalised(fitted_backbone(name, channels, options, tensors, weights), channels)
            encoder = Encoder(create(name, channels, options), channels)
            if tensors is None:
                return encoder
            return _from_stage0(encoder, name, channels, options, tensors, weights)
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        reason = str(error).partition("\n")[0]
        raise InputError("encoder.options", f"what {name} takes", f"{given}: {reason}") from error


def _normalised(backbone: nn.Module, channels: int) -> Encoder:
    """With the normalisation of the published weights."""
    facts = cast(dict[str, Any], backbone.pretrained_cfg)
    return Encoder(backbone, channels, facts["mean"], facts["std"])


def _is_own(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file is one of ours: an encoder with its normalisation."""
    return all(key in ("mean", "std") or key.startswith("backbone.") for key in tensors) and "mean" in tensors


def _from_stage0(
    encoder: Encoder,
    name: str,
    channels: int,
    options: Mapping[str, Option],
    tensors: Mapping[str, Tensor],
    where: object,
) -> Encoder:
    """As it was saved, bit by bit; or fitted to images of another size or other channels."""
    own = encoder.state_dict()
    if own.keys() == tensors.keys() and all(own[key].shape == tensors[key].shape for key in own):
        encoder.load_state_dict(dict(tensors))
        return encoder
    mean, std = tensors["mean"].flatten(), tensors["std"].flatten()
    inner = without_prefix("backbone", tensors)
    backbone = fitted_backbone(name, channels, options, inner, where, channels_before=len(mean))
    return Encoder(backbone, channels, mean.tolist(), std.tolist())


def _per_channel(values: Sequence[float], channels: int) -> Tensor:
    """The values (1, C, 1, 1), or their average where there are not `channels` of them."""
    if len(values) != channels:
        values = [sum(values) / len(values)] * channels
    return torch.tensor(values, dtype=torch.float32).view(1, channels, 1, 1)
