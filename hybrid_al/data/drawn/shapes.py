"""Areas of pixels as other tools write them: outlines, and runs of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from ...core.types import BoolArray, IntArray

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels from the upper left corner, `right` and `bottom` up to width and height."""

Ring = Sequence[tuple[float, float]]
"""The corners (x, y) of a closed outline, in pixels from the upper left corner of the image."""

OUTSIDE = 1.0  # pixels by which an outline may leave its image


def fill(rings: Sequence[Ring], height: int, width: int) -> BoolArray:
    """The pixels (H, W) whose middle lies inside of outlines, by the even-odd rule: a ring within another is a hole.

    ValueError for fewer than three corners, and for an outline that leaves the image by more than `OUTSIDE`.
    """
    corners_of = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in rings]
    for corners in corners_of:
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise ValueError(f"an outline of {len(corners)} corners")
        check_inside(corners, height, width)
    mask = np.zeros((height, width), dtype=np.bool_)
    if corners_of:
        every = np.concatenate(corners_of)
        left, top = np.floor(every.min(axis=0)).astype(np.int64).clip(0).tolist()
        right, bottom = np.minimum(np.ceil(every.max(axis=0)).astype(np.int64), [width, height]).tolist()
        if left < right and top < bottom:
            part = [corners - [left, top] for corners in corners_of]
            mask[top:bottom, left:right] = _even_odd(part, bottom - top, right - left)
    return mask


def _even_odd(rings: Sequence[npt.NDArray[np.float64]], height: int, width: int) -> BoolArray:
    """See `fill`: of rings of corners (n, 2), which may leave the pixels (H, W)."""
    counts = np.zeros((height, width + 1), dtype=np.int64)
    for corners in rings:
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            low, high = min(y0, y1), max(y0, y1)
            rows = np.arange(max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), height))
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(counts, (rows, np.ceil(x - 0.5).astype(np.int64).clip(0, width)), 1)
    inside: BoolArray = counts.cumsum(axis=1)[:, :width] % 2 == 1
    return inside


def check_inside(corners: npt.NDArray[np.float64], height: int, width: int) -> None:
    """ValueError where one of the points (n, 2) of x and y leaves the image by more than `OUTSIDE`."""
    beyond = (corners < -OUTSIDE).any(axis=1) | (corners > np.asarray([width, height]) + OUTSIDE).any(axis=1)
    if beyond.any():
        x, y = corners[int(np.argmax(beyond))]
        raise ValueError(f"the point ({x:g}, {y:g}) outside the image, which has {height} x {width} pixels")


def union(outlines: Sequence[Sequence[Ring]]) -> Callable[[int, int], BoolArray]:
    """What draws several outlines, each with its holes."""

    def draw(height: int, width: int) -> BoolArray:
        mask = np.zeros((height, width), dtype=np.bool_)
        for rings in outlines:
            mask |= fill(rings, height, width)
        return mask

    return draw


def outlines(mask: BoolArray) -> Iterator[list[list[tuple[int, int]]]]:
    """The outlines of each connected piece of a mask (H, W): the outer ring first, then its holes.

    They run along the edges of pixels, so that `fill` gives the mask back.
    """
    pieces, _ = label(mask)
    for number, (rows, columns) in enumerate(find_objects(pieces), 1):
        rings = _rings(pieces[rows, columns] == number)
        rings.sort(key=lambda ring: -abs(_area(ring)))
        yield [[(x + columns.start, y + rows.start) for x, y in ring] for ring in rings]


def _rings(piece: BoolArray) -> list[list[tuple[int, int]]]:
    """The closed lines along the edges of a piece, the piece on the right of each."""
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    sides = (((-1, 0), (0, 0), (1, 0)), ((0, 1), (1, 0), (1, 1)), ((1, 0), (1, 1), (0, 1)), ((0, -1), (0, 1), (0, 0)))
    height, width = piece.shape
    for (dy, dx), (x0, y0), (x1, y1) in sides:  # neighbour outside -> edge from one corner of the pixel to another
        neighbour = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((x + x0, y + y0), []).append((x + x1, y + y1))
    rings = []
    while edges:
        start = next(iter(edges))
        ring, here = [], start
        while True:
            ahead = edges[here]
            following = ahead.pop()
            if not ahead:
                del edges[here]
            ring.append(here)
            here = following
            if here == start:
                break
        rings.append([p for p, before, after in zip(ring, [ring[-1], *ring], [*ring[1:], ring[0]], strict=False)
                      if not _straight(before, p, after)])  # fmt: skip
    return rings


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])


def _area(ring: Sequence[tuple[int, int]]) -> float:
    x, y = np.asarray(ring, dtype=np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def corner_box(ring: Ring) -> Edges | None:
    """The box that an outline of four corners is; None for another outline."""
    corners = {(float(x), float(y)) for x, y in ring}
    xs, ys = sorted({x for x, _ in corners}), sorted({y for _, y in corners})
    return (xs[0], ys[0], xs[1], ys[1]) if len(corners) == 4 and len(xs) == len(ys) == 2 else None


def bounds(mask: BoolArray) -> Edges:
    """The box around all pixels of a mask that has some."""
    rows, columns = np.nonzero(mask)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def dot(x: float, y: float, height: int, width: int) -> BoolArray:
    """The pixel (H, W) in which a point lies; ValueError outside the image."""
    if not (0 <= x <= width and 0 <= y <= height):
        raise ValueError(f"the point ({x:g}, {y:g}) outside the image, which has {height} x {width} pixels")
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[min(int(y), height - 1), min(int(x), width - 1)] = True
    return mask


def runs(flat: BoolArray) -> list[int]:
    """Lengths of the runs of a flat mask, by turns of pixels outside and inside, outside first, maybe 0 of them."""
    changes = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    lengths = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def from_runs(lengths: Sequence[int], size: int) -> BoolArray:
    """The flat mask (size,) of `runs`; ValueError where they have another sum."""
    counts: IntArray = np.asarray(lengths, dtype=np.int64)
    if (counts < 0).any() or int(counts.sum()) != size:
        raise ValueError(f"runs of {int(counts.sum())} pixels, expected {size}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def unpack_coco(text: str) -> list[int]:
    """The runs of a compressed mask of COCO.

    A number is written in groups of 5 bits from the lowest on, each as a character from "0" on, the bit of 32 says that
    another follows, and the sign is the bit of 16 of the last. From the fourth on it is the difference to the last but
    one.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"{character!r} in runs of a mask")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number = shift = 0
    if shift:
        raise ValueError("runs of a mask that are cut")
    return lengths


def pack_coco(lengths: Sequence[int]) -> str:
    """See `unpack_coco`."""
    out = []
    for i, length in enumerate(lengths):
        number = length - (lengths[i - 2] if i > 2 else 0)
        while True:
            bits, number = number & 31, number >> 5
            last = number == (-1 if bits & 16 else 0)
            out.append(chr(48 + bits + (0 if last else 32)))
            if last:
                break
    return "".join(out)


SIZES = (3, 4, 8, 16)  # bits of lengths in `pack_brush`


def pack_brush(mask: BoolArray) -> list[int]:
    """The bytes of a mask (H, W) of Label Studio's brush: red, green, blue and alpha of each pixel, all 0 or 255.

    In the words of thi.ng's rle-pack, bit by bit: 32 for how many values there are, 5 for the bits of a value less one,
    4 times 4 for those of four lengths less one. Then runs: 1 where a value is repeated or 0 where values follow, 2 for
    which of the lengths, the length less one, and the value or the values.
    """
    fields = [(4 * mask.size, 32), (7, 5), *((size - 1, 4) for size in SIZES)]
    for i, length in enumerate(runs(mask.ravel())):
        left = 4 * length
        while left:
            part = min(left, 1 << SIZES[-1])
            which = next(k for k, size in enumerate(SIZES) if part <= 1 << size)
            fields += [(1, 1), (which, 2), (part - 1, SIZES[which]), (255 * (i % 2), 8)]
            left -= part
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    padded = np.frombuffer(text.ljust(-(-len(text) // 8) * 8, "0").encode(), dtype=np.uint8) - 48
    packed: list[int] = np.packbits(padded).tolist()
    return packed


def unpack_brush(values: Sequence[int], height: int, width: int) -> BoolArray:
    """The mask (H, W) of `pack_brush`: where alpha is above one half. ValueError where it is cut or of another size."""
    try:
        bits = np.unpackbits(np.asarray(values, dtype=np.uint8))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"bytes that are none ({error})") from None
    text, place = (bits + 48).tobytes().decode("ascii"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        if place > len(text):
            raise ValueError("a mask that is cut")
        return int(text[place - count : place] or "0", 2)

    total, word = take(32), take(5) + 1
    if total != 4 * height * width:
        raise ValueError(f"a mask of {total} values, expected 4 for each of {height} x {width} pixels")
    sizes = [take(4) + 1 for _ in range(4)]
    out = np.zeros(total, dtype=np.int64)
    i = 0
    while i < total:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        if i + length > total:
            raise ValueError("a mask that is longer than it says")
        if repeated:
            out[i : i + length] = take(word)
        else:
            out[i : i + length] = [take(word) for _ in range(length)]
        i += length
    alpha: BoolArray = out.reshape(height, width, 4)[..., 3] > (1 << word) // 2 - 1
    return alpha
