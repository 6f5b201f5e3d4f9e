"""A contact sheet: small pictures in a grid, each with a caption, as one PNG file."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

SIDE, LINE, GAP = 128, 16, 8  # pixels: of a picture, of its caption, between two
COLUMNS, MOST = 10, 1000


def contact_sheet(tiles: Iterator[tuple[npt.NDArray[np.uint8] | None, str]], count: int) -> bytes:
    """The first `MOST` of `count` pictures (H, W, 3) with their captions; None is a picture that cannot be read."""
    count = min(count, MOST)
    columns = min(COLUMNS, count)
    width, height = SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (columns * width + GAP, math.ceil(count / columns) * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for place, (pixels, caption) in enumerate(islice(tiles, count)):
        left, top = GAP + place % columns * width, GAP + place // columns * height
        if pixels is None:
            draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill="lightgrey")
            draw.text((left + 4, top + 4), "cannot be read", fill="black", font=font)
        else:
            image = Image.fromarray(pixels)
            image.thumbnail((SIDE, SIDE))
            if max(image.size) < SIDE:
                scale = SIDE // max(image.size)
                image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
            sheet.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        draw.text((left, top + SIDE + 2), caption, fill="black", font=font)
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()
