"""Masked autoencoder (He et al. 2022): a vision transformer sees a few patches, a decoder predicts the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import get_at_index, normalize_mean_var, patchify, repeat_token, set_at_index
from pydantic import Field
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from hybrid_al.core.registry import Amount, Count, Few, Positive, hyperparameters
from hybrid_al.data.views.draws import rand
from hybrid_al.data.views.policies import View
from hybrid_al.errors import InputError
from hybrid_al.models.encoder import Encoder

from .base import Loss


@dataclass(frozen=True)
@hyperparameters
class MAE:
    """Mean squared error on the pixels of masked patches; section 3 of the paper.

    mask              share of the patches that the encoder does not see; 0.75 as published (section 4.1)
    width             of the decoder; paper: 512, with 8 blocks, beside encoders of 1024; here for small ViTs
    normalize         targets are the pixels of a patch less their mean, over their deviation; section 4.1
    views             crops, flips and rotations alone, no colour: the paper needs no more (table 1e)
    lr, weight_decay  paper: 1.5e-4 a batch of 256 over 800 epochs, and 0.05 (table 8); higher for fewer steps
    encoder           keeps its weights and positions at the start, so that pretrained ones are used; the paper starts
                      from fixed sine-cosine positions
    """

    epochs: Count = 40
    batch: Count = 256
    accumulate: Count = 1
    lr: Positive = 1.5e-3
    weight_decay: Amount = 0.05
    mask: Annotated[float, Field(gt=0, lt=1)] = 0.75
    width: Count = 128
    depth: Few = 2
    heads: Few = 4
    normalize: bool = True

    def network(self, encoder: Encoder, example: Tensor) -> nn.ModuleDict:
        """The encoder, the same with masking, and the decoder with the linear layers before and behind it."""
        vit = encoder.backbone
        if not isinstance(vit, VisionTransformer):
            expected = "a vision transformer for mae (vit_tiny_patch16_224 with encoder.options={patch_size: 4}, say)"
            raise InputError("encoder.name", expected, type(vit).__name__)
        patches, side = int(vit.patch_embed.num_patches), int(vit.patch_embed.patch_size[0])
        if not 0 < self._visible(patches) < patches:
            expected = f"patches to see and to mask at mask={self.mask}; encoder.options={{patch_size: 4}} makes more"
            raise InputError("pretrain (mae)", expected, f"{patches} in all")
        masked = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        masked.mask_token.requires_grad_(False)  # masked patches are left out, not replaced
        decoder = MaskedVisionTransformerDecoderTIMM(
            patches, self.width, self.depth, self.heads, num_prefix_tokens=int(vit.num_prefix_tokens)
        )
        return nn.ModuleDict(
            {
                "encoder": encoder,
                "masked": masked,
                "into": nn.Linear(int(vit.embed_dim), self.width),
                "decoder": decoder,
                "paint": nn.Linear(self.width, side**2 * example.shape[1]),
            }
        )

    def _visible(self, patches: int) -> int:
        return int(patches * (1 - self.mask))

    def loss(
        self, network: nn.ModuleDict, images: Tensor, views: View, generator: torch.Generator, progress: float
    ) -> Loss:
        """See `Method.loss`; an image's share is the mean over its masked patches."""
        encoder, decoder = (
            cast(Encoder, network["encoder"]),
            cast(MaskedVisionTransformerDecoderTIMM, network["decoder"]),
        )
        masked = cast(MaskedVisionTransformerTIMM, network["masked"])
        images = encoder.normalize(views.geometry()(images, generator))
        patches, prefix = decoder.num_patches, decoder.num_prefix_tokens
        order = rand((len(images), patches), generator).argsort(dim=1).to(images.device) + prefix
        visible, hidden = order.tensor_split([self._visible(patches)], dim=1)
        prefix_tokens = torch.arange(prefix, device=images.device).expand(len(images), -1)
        visible = torch.cat([prefix_tokens, visible], dim=1)

        tokens = network["into"](masked.encode(images, idx_keep=visible))
        blank = repeat_token(decoder.mask_token, (len(images), patches + prefix))
        prediction = network["paint"](
            get_at_index(decoder(set_at_index(blank, visible, tokens.to(blank.dtype))), hidden)
        )
        side = int(cast(VisionTransformer, encoder.backbone).patch_embed.patch_size[0])
        target = get_at_index(patchify(images, side), hidden - prefix)
        if self.normalize:
            target = normalize_mean_var(target)
        per_sample = (prediction - target).square().mean(dim=(1, 2))
        return Loss(per_sample.mean(), per_sample.detach())

    def after_step(self, network: nn.ModuleDict, progress: float) -> None:
        """No updates."""
