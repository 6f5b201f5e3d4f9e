"""The smallest pair of SAM's encoder and decoder, written as bytes: no package that writes ONNX is needed.

Its structure is what is brighter than SAM's mean, on squares of 32 pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

SIDE, GRID = 32, 8
FLOAT, INT64 = 1, 7
Shape = Sequence[int | str]


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value(name: str, shape: Shape) -> bytes:
    dims = b"".join(_field(1, _field(2 if isinstance(n, str) else 1, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


def _whole(name: str, *values: int) -> bytes:
    """A list of whole numbers that is part of the graph."""
    data = struct.pack(f"<{len(values)}q", *values)
    return _field(1, len(values)) + _field(2, INT64) + _field(8, name) + _field(9, data)


def _attribute(name: str, value: int | str | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, 2)
    if isinstance(value, str):
        return _field(1, name) + _field(4, value) + _field(20, 3)
    return _field(1, name) + b"".join(_field(8, n) for n in value) + _field(20, 7)


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int | str | Sequence[int]) -> bytes:
    names = b"".join(_field(1, name) for name in inputs) + _field(2, output)
    return names + _field(4, kind) + b"".join(_field(5, _attribute(k, v)) for k, v in attributes.items())


def _write(
    file: Path,
    nodes: Sequence[bytes],
    takes: Mapping[str, Shape],
    makes: Mapping[str, Shape],
    whole: Sequence[bytes] = (),
) -> Path:
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "tiny") + b"".join(_field(5, one) for one in whole)
    graph += b"".join(_field(11, _value(*entry)) for entry in takes.items())
    graph += b"".join(_field(12, _value(*entry)) for entry in makes.items())
    file.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)))
    return file


def write_encoder(file: Path) -> Path:
    """The mean of each 4 x 4 pixels."""
    pool = _node("AveragePool", ["image"], "embedding", kernel_shape=[4, 4], strides=[4, 4])
    return _write(file, [pool], {"image": (1, 3, SIDE, SIDE)}, {"embedding": (1, 3, GRID, GRID)})


def write_decoder(file: Path, channels: int = 3) -> Path:
    """The mean of the channels, in the size that is asked for; the prompt says nothing."""
    takes: dict[str, Shape] = {
        "image_embeddings": (1, channels, GRID, GRID),
        "point_coords": (1, "points", 2),
        "point_labels": (1, "points"),
        "mask_input": (1, 1, 4 * GRID, 4 * GRID),
        "has_mask_input": (1,),
        "orig_im_size": (2,),
    }
    nodes = [
        _node("ReduceMean", ["image_embeddings"], "low", axes=[1], keepdims=1),
        _node("Cast", ["orig_im_size"], "size", to=INT64),
        _node("Concat", ["one", "size"], "sizes", axis=0),
        _node("Resize", ["low", "", "", "sizes"], "masks", mode="nearest"),
        _node("ReduceMean", ["low"], "iou_predictions", axes=[2, 3], keepdims=0),
    ]
    makes: dict[str, Shape] = {"masks": (1, 1, "height", "width"), "iou_predictions": (1, 1)}
    return _write(file, nodes, takes, makes, [_whole("one", 1, 1)])


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Encoder and decoder in a folder."""
    return write_encoder(folder / "encoder.onnx"), write_decoder(folder / "decoder.onnx")
