"""Segmentation networks around an encoder of stage 0: segmentation-models-pytorch by name, imported here alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.registry import member
from ..core.rng import derive_seed
from ..errors import InputError
from .checkpoint import load_into
from .encoder import Encoder, is_custom
from .pooling import mean_features
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
in_channels=, classes=, **settings)`, which returns a module with `encoder`, `decoder` and `segmentation_head`.
"""

Setting = Option | list[int]
"""A value that a segmentation network takes by name, such as `decoder_channels`."""

QUALITY_WIDTH = 64  # hidden units of the head of `expected_quality`

REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError, KeyError, IndexError, UserWarning)


class Segmenter(nn.Module):
    """images (B, C, H, W) in [0, 1] -> logits (B, K, H, W); H and W may be any.

    Images whose sides are no multiple of `stride` are padded on the right and below by repeating their edge, and the
    logits are cut back. Dropout drops whole channels of the decoder's features, before the last layer.

    sides  channels of the decoder's blocks before the last, from the last on, that have a head of their own (`outputs`)
    quality  with a head that expects the Dice of the network's own prediction (`expected_quality`)
    """

    def __init__(
        self,
        body: nn.Module,
        encoder: Encoder,
        *,
        dropout: float,
        sides: Iterable[int] = (),
        classes: int = 0,
        quality: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError("dropout", "a probability in [0, 1)", str(dropout))
        self.classifier = cast(nn.Module, body.segmentation_head)
        body.segmentation_head = nn.Identity()
        self.body = body
        self.dropout = nn.Dropout2d(dropout)
        self.sides = nn.ModuleList([nn.Conv2d(channels, classes, 1) for channels in sides])
        self.quality: nn.Module | None = None
        if quality:
            channels = next(m.in_channels for m in self.classifier.modules() if isinstance(m, nn.Conv2d))
            width = 2 * channels + 2
            self.quality = nn.Sequential(nn.Linear(width, QUALITY_WIDTH), nn.ReLU(), nn.Linear(QUALITY_WIDTH, 1))
        self.stride = int(cast(Any, body.encoder).output_stride)
        self.register_buffer("mean", cast(Tensor, encoder.mean).clone())
        self.register_buffer("std", cast(Tensor, encoder.std).clone())

    @property
    def encoder(self) -> nn.Module:
        """The encoder, which starts from the weights of stage 0."""
        return cast(nn.Module, self.body.encoder)

    @property
    def head(self) -> nn.Module:
        """The decoder, the last layer and further heads, which start from random weights."""
        heads = [cast(nn.Module, self.body.decoder), self.classifier, self.sides]
        return nn.ModuleList(heads if self.quality is None else [*heads, self.quality])

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W)."""
        return self.classify(self.decoded(images), images.shape[-2:])

    def decoded(self, images: Tensor) -> Tensor:
        """The decoder's features (B, D, h, w) of images (B, C, H, W)."""
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        down, right = (-side % self.stride for side in images.shape[-2:])
        padded = F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images
        return cast(Tensor, self.body((padded - mean) / std))

    def expected_quality(self, decoded: Tensor, probs: Tensor) -> Tensor:
        """The Dice (B,) that the network expects of its prediction, from the decoder's features and probabilities.

        It sees the mean features of the predicted structures and of the image, the share of the structures, and the
        mean entropy.
        """
        assert self.quality is not None
        structures = 1 - probs[:, :1]
        inside = mean_features(decoded, structures, self.stride)[:, 0]
        entropy = torch.special.entr(probs).sum(dim=1).mean(dim=(1, 2))
        numbers = torch.stack([structures.mean(dim=(1, 2, 3)), entropy], dim=1)
        return cast(Tensor, self.quality(torch.cat([inside, decoded.mean(dim=(2, 3)), numbers], dim=1)))[:, 0].sigmoid()

    def outputs(self, images: Tensor) -> list[Tensor]:
        """Logits (B, K, H, W) of the network and of its side heads, which see earlier blocks of the decoder."""
        features = list[Tensor]()
        handles = [
            block.register_forward_hook(lambda _, __, out: features.append(out)) for block in blocks_of(self.body)
        ]
        try:
            decoded = self.decoded(images)
        finally:
            for handle in handles:
                handle.remove()
        height, width = images.shape[-2:]
        logits = [self.classify(decoded, images.shape[-2:])]
        for head, feature in zip(self.sides, features[-2::-1], strict=False):
            side = F.interpolate(head(feature), decoded.shape[-2:], mode="bilinear", align_corners=False)
            logits.append(side[..., :height, :width])
        return logits

    def perturbed(self, images: Tensor, share: float) -> Tensor:
        """Logits (B, K, H, W) where a random share of the channels of each feature map of the encoder is zero."""

        def drop(features: Any) -> Any:  # feature maps (B, D, h, w), and other outputs of an encoder beside them
            if isinstance(features, list | tuple):
                return type(features)(drop(feature) for feature in features)
            return F.dropout2d(features, share) if isinstance(features, Tensor) and features.ndim == 4 else features

        handle = self.encoder.register_forward_hook(lambda _, __, features: drop(features))
        try:
            return cast(Tensor, self(images))
        finally:
            handle.remove()

    def classify(self, decoded: Tensor, size: torch.Size) -> Tensor:
        """Logits (B, K, *size) of the decoder's features; with dropout in train mode."""
        height, width = size
        return cast(Tensor, self.classifier(self.dropout(decoded)))[..., :height, :width]


def blocks_of(body: nn.Module) -> list[nn.Module]:
    """The decoder's blocks in the order in which they are passed; none where the network has no such list."""
    blocks = getattr(body.decoder, "blocks", None)
    return list(blocks) if isinstance(blocks, nn.ModuleList) else []


@contextmanager
def listening(body: nn.Module, hear: Callable[[Tensor], None]) -> Iterator[None]:
    """Give the output of each of the decoder's blocks to `hear` as it is passed."""
    handles = [block.register_forward_hook(lambda _, __, output: hear(output)) for block in blocks_of(body)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Committee(nn.Module):
    """Networks trained side by side.

    images (B, C, H, W) -> logarithms of the mean of their probabilities (B, K, H, W).
    """

    def __init__(self, members: Iterable[Segmenter]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def encoder(self) -> nn.Module:
        """The encoders of all members."""
        return nn.ModuleList([cast(nn.Module, member.encoder) for member in self.members])

    @property
    def head(self) -> nn.Module:
        """The heads of all members."""
        return nn.ModuleList([cast(nn.Module, member.head) for member in self.members])

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the mean of the members' probabilities."""
        log_probs = torch.stack([member(images).log_softmax(dim=1) for member in self.members])
        return log_probs.logsumexp(dim=0) - math.log(len(log_probs))


def network_or_committee(make: Callable[[int], Segmenter], count: int, seed: int) -> Segmenter | Committee:
    """The network of a seed, or a committee of `count` networks: this one, and others with other random weights."""
    if count == 1:
        return make(seed)
    return Committee([make(seed), *(make(derive_seed(seed, "member", m)) for m in range(1, count))])


def check_network(name: str) -> None:
    """Refuse an unknown name of a segmentation network."""
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
    side_heads: int = 0,
    quality_head: bool = False,
    settings: Mapping[str, Setting] | None = None,
    options: Mapping[str, Option] | None = None,
) -> Segmenter:
    """The network `network` with a copy of `encoder`, the timm network `encoder_name`; its other weights are random.

    `settings` go to the segmentation network, `options` to timm, as they are.
    Errors: an unknown network (the nearest is named), a setting that it does not take, an encoder that it cannot take
    (the networks that can are named), an encoder that scales its images first.
    """
    check_network(network)
    if is_custom(encoder_name):
        raise InputError("encoder.name", "a network of timm, in segmentation", encoder_name)
    if encoder.input_size:
        raise InputError("encoder.input_size", "none in segmentation: set data.image_size", str(encoder.input_size))
    make = _maker(encoder, encoder_name, classes, image_size, seed, options or {})
    try:
        body = make(network, settings or {})
    except REFUSALS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if settings and _takes(make, network):
            choices = ", ".join(f"{key}={value}" for key, value in settings.items())
            raise InputError("task.network", f"settings that {network} takes", f"{choices}: {reason}") from error
        alternatives = [other for other in NETWORKS if other != network and _takes(make, other)]
        expected = f"a network that can take {encoder_name} ({', '.join(alternatives) or 'none of ours can'})"
        raise InputError("task.network", expected, f"{network}: {reason}") from error
    channels = _side_channels(body, encoder, image_size, network)[:side_heads] if side_heads else []
    if len(channels) < side_heads:
        raise InputError("task.side_heads", f"at most the {len(channels)} earlier blocks of {network}", str(side_heads))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Segmenter(body, encoder, dropout=dropout, sides=channels, classes=classes, quality=quality_head)
    return made.to(memory_format=torch.channels_last)


def _side_channels(body: nn.Module, encoder: Encoder, image_size: int, network: str) -> list[int]:
    """Channels of the decoder's blocks before the last, the last of them first."""
    channels = list[int]()
    handles = [
        block.register_forward_hook(lambda _, __, out: channels.append(out.shape[1])) for block in blocks_of(body)
    ]
    if not handles:
        raise InputError("task.side_heads", "a network whose decoder is a row of blocks (unet)", network)
    side = image_size + -image_size % int(cast(Any, body.encoder).output_stride)
    with torch.no_grad():
        body.eval()(torch.zeros(1, cast(Tensor, encoder.mean).shape[1], side, side))
    body.train()
    for handle in handles:
        handle.remove()
    return channels[-2::-1]


def padded_size(network: Segmenter, image_size: int) -> int:
    """Side (pixels) to which the network pads images of this side."""
    return image_size + -image_size % network.stride


def _maker(
    encoder: Encoder, encoder_name: str, classes: int, image_size: int, seed: int, options: Mapping[str, Option]
) -> Callable[[str, Mapping[str, Setting]], nn.Module]:
    """Network name and settings -> the network with the encoder's weights, tried on one image."""
    import segmentation_models_pytorch as smp
    import timm

    facts = timm.get_pretrained_cfg(encoder_name)
    size_option = {"img_size": image_size} if facts is not None and facts.fixed_input_size else {}
    channels = cast(Tensor, encoder.mean).shape[1]

    def make(network: str, settings: Mapping[str, Setting]) -> nn.Module:
        arguments: dict[str, Any] = {**size_option, **options, **settings}
        if network == "dpt":
            arguments["num_classes"] = 0
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", UserWarning)  # smp warns where encoder and decoder do not fit
            torch.manual_seed(seed)
            kind: Any = member(NETWORKS, "task.network.name", network)
            kind = getattr(smp, kind) if network in NETWORKS else kind
            body = cast(
                nn.Module,
                kind(f"tu-{encoder_name}", encoder_weights=None, in_channels=channels, classes=classes, **arguments),
            )
            _copy_weights(body, encoder, network)
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


def _copy_weights(body: nn.Module, encoder: Encoder, network: str) -> None:
    """Copy the stage-0 weights into the network's encoder; each of its tensors must be among them.

    timm names tensors of a network for feature maps with underscores where the plain network has dots. Layers that only
    make the embedding (a last norm, a projection) are not in the segmentation network.
    """
    inner = cast(nn.Module, cast(Any, body.encoder).model)
    weights = {key.replace("_", "."): value for key, value in encoder.backbone.state_dict().items()}
    expected = inner.state_dict()
    tensors = {key: weights[flat] for key in expected if (flat := key.replace("_", ".")) in weights}
    load_into(inner, tensors, f"task.network: {network} around this encoder")
