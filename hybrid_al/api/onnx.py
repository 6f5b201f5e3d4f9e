"""A model as an ONNX file, where the packages for it are installed (`pip install 'hybrid-al[onnx]'`)."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch

from ..errors import HybridALError
from .deployed import Deployed

PACKAGES = ("onnx", "onnxscript")


def missing() -> list[str]:
    """The packages that an ONNX file takes and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def write_onnx(model: Deployed, path: Path) -> None:
    """Write images (B, C, S, S) in [0, 1] -> probabilities, for any B; names: `images` and `probabilities`.

    HybridALError with torch's reason for a network that it cannot write so.
    """
    note = model.note
    images = torch.rand(2, note.channels, note.image_size, note.image_size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model.cpu(),
                (images,),
                str(path),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise HybridALError(f"model.onnx: torch cannot write this network ({reason[:200]})") from error
