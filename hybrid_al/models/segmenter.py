"""Segmentation networks around an encoder of stage 0: segmentation-models-pytorch by name, imported here alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.registry import member
from ..core.rng import derive_seed
from ..errors import InputError
from .checkpoint import load_into
from .encoder import Encoder, is_own
from .pretrained import Option

NETWORKS: dict[str, str] = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "deeplabv3plus": "DeepLabV3Plus",
    "fpn": "FPN",
    "segformer": "Segformer",
    "dpt": "DPT",
}
"""Our name -> its class. DPT takes vision transformers, the others networks that halve the image step by step.

From outside: `package.module:make`, called as these classes are, `make("tu-resnet18", encoder_weights=None,
in_channels=, classes=, **settings)`, which gives what they give: a module with `encoder`, `decoder` and
`segmentation_head`.
"""

Setting = Option | list[int]
"""A value that a segmentation network takes by name, such as `decoder_channels`."""

REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError, KeyError, IndexError, UserWarning)


class Segmenter(nn.Module):
    """images (B, C, H, W) in [0, 1] -> logits (B, K, H, W); H and W may be any.

    Images whose sides are no multiple of `stride` are padded on the right and below by repeating their edge, and the
    logits are cut back. Dropout takes whole channels of what the decoder hands to the last layer.
    """

    def __init__(self, body: nn.Module, encoder: Encoder, *, dropout: float) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError("dropout", "a probability in [0, 1)", str(dropout))
        self.classifier = cast(nn.Module, body.segmentation_head)
        body.segmentation_head = nn.Identity()
        self.body = body
        self.dropout = nn.Dropout2d(dropout)
        self.stride = int(cast(Any, body.encoder).output_stride)
        self.register_buffer("mean", cast(Tensor, encoder.mean).clone())
        self.register_buffer("std", cast(Tensor, encoder.std).clone())

    @property
    def encoder(self) -> nn.Module:
        """What stage 0 has trained."""
        return cast(nn.Module, self.body.encoder)

    @property
    def head(self) -> nn.Module:
        """What starts from random weights: the decoder and the last layer."""
        return nn.ModuleList([cast(nn.Module, self.body.decoder), self.classifier])

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W)."""
        return self.classify(self.decoded(images), images.shape[-2:])

    def decoded(self, images: Tensor) -> Tensor:
        """What the decoder makes of images (B, C, H, W): (B, D, h, w)."""
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        down, right = (-side % self.stride for side in images.shape[-2:])
        padded = F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images
        return cast(Tensor, self.body((padded - mean) / std))

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        """Logits (B, K, H, W) where a random share of the channels of each feature map of the encoder is zero."""

        def dropped(found: Any) -> Any:  # feature maps (B, D, h, w), and what a network hands on beside them
            if isinstance(found, list | tuple):
                return type(found)(dropped(part) for part in found)
            return F.dropout2d(found, share) if isinstance(found, Tensor) and found.ndim == 4 else found

        handle = self.encoder.register_forward_hook(lambda _, __, found: dropped(found))
        try:
            return cast(Tensor, self(images))
        finally:
            handle.remove()

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        """Logits (B, K, *size) of what the decoder made; with dropout in train mode."""
        height, width = size
        return cast(Tensor, self.classifier(self.dropout(decoded)))[..., :height, :width]


class Committee(nn.Module):
    """Networks trained side by side.

    images (B, C, H, W) -> logarithms of the mean of their probabilities (B, K, H, W).
    """

    def __init__(self, members: Iterable[Segmenter]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def encoder(self) -> nn.Module:
        """What stage 0 has trained, of each."""
        return nn.ModuleList([cast(nn.Module, member.encoder) for member in self.members])

    @property
    def head(self) -> nn.Module:
        """What starts from random weights, of each."""
        return nn.ModuleList([cast(nn.Module, member.head) for member in self.members])

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the members' probabilities, as logarithms."""
        said = torch.stack([member(images).log_softmax(dim=1) for member in self.members])
        return said.logsumexp(dim=0) - math.log(len(said))


def together(make: Callable[[int], Segmenter], count: int, seed: int) -> Segmenter | Committee:
    """The network of a seed, or a committee of it and others, whose random weights are others: `count` in all."""
    if count == 1:
        return make(seed)
    return Committee([make(seed), *(make(derive_seed(seed, "member", m)) for m in range(1, count))])


def check_network(name: str) -> None:
    """Refuse what no segmentation network is called."""
    member(NETWORKS, "task.network.name", name)


def build_segmenter(
    network: str,
    encoder: Encoder,
    *,
    encoder_name: str,
    classes: int,
    image_size: int,
    seed: int,
    dropout: float = 0.0,
    settings: Mapping[str, Setting] | None = None,
    options: Mapping[str, Option] | None = None,
) -> Segmenter:
    """The network `network` around a copy of `encoder`, which is the timm network `encoder_name`; the rest is random.

    `settings` go to the segmentation network, `options` to timm, as they are.
    Errors: an unknown network (the nearest is named), a setting that it does not take, an encoder that it cannot take
    (the networks that can are named), an encoder that scales its images first.
    """
    check_network(network)
    if is_own(encoder_name):
        raise InputError("encoder.name", "a network of timm, in segmentation", encoder_name)
    if encoder.input_size:
        raise InputError("encoder.input_size", "none in segmentation: set data.image_size", str(encoder.input_size))
    make = _maker(encoder, encoder_name, classes, image_size, seed, options or {})
    try:
        body = make(network, settings or {})
    except REFUSALS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if settings and _takes(make, network):
            named = ", ".join(f"{key}={value}" for key, value in settings.items())
            raise InputError("task.network", f"settings that {network} takes", f"{named}: {reason}") from error
        able = [other for other in NETWORKS if other != network and _takes(make, other)]
        fitting = f"a network that can take {encoder_name} ({', '.join(able) or 'none of ours can'})"
        raise InputError("task.network", fitting, f"{network}: {reason}") from error
    return Segmenter(body, encoder, dropout=dropout).to(memory_format=torch.channels_last)


def padded_size(network: Segmenter, image_size: int) -> int:
    """Side to which images of this side are padded inside the network."""
    return image_size + -image_size % network.stride


def _maker(
    encoder: Encoder, encoder_name: str, classes: int, image_size: int, seed: int, options: Mapping[str, Option]
) -> Callable[[str, Mapping[str, Setting]], nn.Module]:
    """Network name and settings -> the network with the encoder's weights, after one image went through it."""
    import segmentation_models_pytorch as smp
    import timm

    facts = timm.get_pretrained_cfg(encoder_name)
    sized = {"img_size": image_size} if facts is not None and facts.fixed_input_size else {}
    channels = cast(Tensor, encoder.mean).shape[1]

    def make(network: str, settings: Mapping[str, Setting]) -> nn.Module:
        both: dict[str, Any] = {**sized, **options, **settings}
        if network == "dpt":
            both["num_classes"] = 0
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", UserWarning)  # with it smp says that the parts do not fit
            torch.manual_seed(seed)
            kind: Any = member(NETWORKS, "task.network.name", network)
            kind = getattr(smp, kind) if network in NETWORKS else kind
            body = cast(
                nn.Module,
                kind(f"tu-{encoder_name}", encoder_weights=None, in_channels=channels, classes=classes, **both),
            )
            _give_weights(body, encoder, network)
            stride = int(cast(Any, body.encoder).output_stride)
            side = image_size + -image_size % stride
            with torch.no_grad():
                body.eval()(torch.zeros(1, channels, side, side))
        return body.train()

    return make


def _takes(make: Callable[[str, Mapping[str, Setting]], nn.Module], network: str) -> bool:
    try:
        make(network, {})
    except REFUSALS:
        return False
    return True


def _give_weights(body: nn.Module, encoder: Encoder, network: str) -> None:
    """Copy the stage-0 weights into the network's encoder, all of whose tensors must be among them.

    timm names a tensor of a network that gives feature maps with underscores where the plain network has dots. What
    only makes the embedding (a last norm, a projection) has no place in the segmentation network.
    """
    inner = cast(nn.Module, cast(Any, body.encoder).model)
    given = {key.replace("_", "."): value for key, value in encoder.backbone.state_dict().items()}
    own = inner.state_dict()
    tensors = {key: given[flat] for key in own if (flat := key.replace("_", ".")) in given}
    load_into(inner, tensors, f"task.network: {network} around this encoder")
