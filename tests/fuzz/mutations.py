"""Ways to spoil bytes and texts, drawn by a generator: small ones, those of a disk, and those that are meant."""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator


class Silent(Exception):
    """Damage that nobody noticed: other values than those that were written."""


TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"inf", b"-1", b"0", b"1e400", b"9" * 40, b"9" * 5000),
    *(b"*a", b"&a [*a, *a]", b"[" * 300, b"{" * 300, b'"', b"'", b";", b"\t", b"\r\n", b"\n\n", b":", b"../..", b"#"),
    *(b"!!python/object/apply:os.system [ls]", b"\xf0\x9f\x92\xa3", b"%s%n", b"null", b"true", b"- ", b"/dev/zero"),
    b"x" * 140_000,
)


def spoil(rng: Rng, data: bytes, other: bytes = b"") -> bytes:
    """The data, spoiled once to four times; `other`: a whole file of the same kind, to mix parts of."""
    for _ in range(int(rng.integers(1, 5))):
        data = _ONE[int(rng.integers(len(_ONE)))](rng, data, other)
    return data


def _at(rng: Rng, data: bytes) -> int:
    return int(rng.integers(len(data) + 1))


def _flip(rng: Rng, data: bytes, _: bytes) -> bytes:
    if not data:
        return b"\x01"
    changed = bytearray(data)
    changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(rng: Rng, data: bytes, _: bytes) -> bytes:
    return data[: _at(rng, data)]


def _drop(rng: Rng, data: bytes, _: bytes) -> bytes:
    first, last = sorted((_at(rng, data), _at(rng, data)))
    return data[:first] + data[min(last, first + 200) :]


def _repeat(rng: Rng, data: bytes, _: bytes) -> bytes:
    first, last = sorted((_at(rng, data), _at(rng, data)))
    return data[:last] + data[first:last][:500] * int(rng.integers(1, 4)) + data[last:]


def _token(rng: Rng, data: bytes, _: bytes) -> bytes:
    at = _at(rng, data)
    return data[:at] + TOKENS[int(rng.integers(len(TOKENS)))] + data[at:]


def _zeros(rng: Rng, data: bytes, _: bytes) -> bytes:
    at = _at(rng, data)
    count = min(int(rng.integers(1, 600)), len(data) - at)
    return data[:at] + bytes(count) + data[at + count :]


def _mix(rng: Rng, data: bytes, other: bytes) -> bytes:
    return data[: _at(rng, data)] + other[_at(rng, other) :]


def _line(rng: Rng, data: bytes, _: bytes) -> bytes:
    lines = data.split(b"\n")
    i, j = int(rng.integers(len(lines))), int(rng.integers(len(lines)))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines[:i] + lines[i + 1 :]) if rng.random() < 0.5 else b"\n".join(lines)


def numbers(rng: Rng, data: bytes, most: int = 1 << 30) -> bytes:
    """The data with one to three other numbers of 1 to 8 bytes in its first `most` bytes, at and beyond edges."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4)) if data else 0):
        size = 1 << int(rng.integers(4))
        value = (0, 1, -1, 2, 1 << (8 * size - 1), (1 << (8 * size - 1)) - 1, 100, 65535)[int(rng.integers(8))]
        at = int(rng.integers(min(len(data), most)))
        order = ("little", "big")[int(rng.integers(2))]
        changed[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(changed[: len(data)])


_ONE = (_flip, _flip, _cut, _drop, _repeat, _token, _token, _zeros, _mix, _line)
EDGES: tuple[object, ...] = (
    *(0, -1, 1, 2, 10**9, 10**18, 10**400, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
    *(True, False, None, "", "x", "x" * 5000, "a\0b", "1", "nan", [], {}, [1, 2], {"name": 1}, {"name": "x"}, [[]]),
    *(":", "os:system", "json:loads", "..", "~", "/dev/null"),
)
"""Values at and beyond the edges of what a key of a recipe may be."""


def edge(rng: Rng) -> object:
    """One of them."""
    return EDGES[int(rng.integers(len(EDGES)))]
