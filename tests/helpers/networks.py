"""Decoders small enough for tests."""

from __future__ import annotations

SMALL: dict[str, dict[str, int | list[int]]] = {
    "unet": {"decoder_channels": [16, 16, 8, 8, 8]},
    "unetplusplus": {"decoder_channels": [16, 16, 8, 8, 8]},
    "deeplabv3plus": {"decoder_channels": 16},
    "fpn": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 64},
    "segformer": {"decoder_segmentation_channels": 16},
    "dpt": {"decoder_intermediate_channels": [8, 8, 8, 8], "decoder_fusion_channels": 8},
}
