"""Forms of several parts (multipart/form-data, RFC 7578): those that clients send with files, and one in answer."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any

from ..errors import InputError

MOST = 256 * 2**20
"""Bytes of a request."""


@dataclass(frozen=True)
class Part:
    """A field of a form: its bytes, and the name of its file where it is one."""

    data: bytes
    file: str | None = None


@dataclass(frozen=True)
class Form:
    """The fields of a request by name."""

    parts: dict[str, Part]

    def file(self, name: str) -> Part:
        """A file; InputError where there is none."""
        part = self.parts.get(name)
        if part is None or not part.file:
            raise InputError(name, f"a file in the field {name!r} of a form", "none")
        return part

    def params(self, name: str = "params") -> dict[str, Any]:
        """The JSON object in a field, empty where there is none; InputError for other JSON."""
        return mapping(name, self.parts[name].data) if name in self.parts else {}


def mapping(where: str, text: bytes) -> dict[str, Any]:
    """A JSON object, empty where there is no text; InputError for anything else."""
    try:
        value = json.loads(text.decode("utf-8")) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise InputError(where, "a JSON object", f"no JSON ({error})") from None
    if value is not None and not isinstance(value, dict):
        raise InputError(where, "a JSON object", type(value).__name__)
    return value or {}


def read(content_type: str, body: bytes) -> Form:
    """The form of a request; InputError where it is none, or is cut."""
    kind = Message()
    kind["content-type"] = content_type
    boundary = kind.get_boundary()
    if kind.get_content_type() != "multipart/form-data" or not boundary:
        raise InputError("request", "a form (multipart/form-data)", content_type[:100] or "none")
    _, *chunks = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not chunks or not chunks[-1].startswith(b"--"):
        raise InputError("request", "a whole form", "one that is cut")
    return Form(dict(map(_part, chunks[:-1])))


def _part(chunk: bytes) -> tuple[str, Part]:
    head, _, data = chunk.partition(b"\r\n\r\n")
    headers = BytesHeaderParser().parsebytes(head.lstrip())
    name, file = headers.get_param("name", header="content-disposition"), headers.get_filename()
    if not isinstance(name, str):
        raise InputError("request", "a form whose fields have names", "a field without one")
    return name, Part(data, file)


def write(params: dict[str, Any], file: str, data: bytes) -> tuple[str, bytes]:
    """(content type, body) of a form of the JSON `params` and the file `image`."""
    boundary = secrets.token_hex(16)
    fields = (
        ('name="params"', "application/json", json.dumps(params).encode()),
        (f'name="image"; filename="{file}"', "application/octet-stream", data),
    )
    body = bytearray()
    for about, kind, text in fields:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {about}\r\nContent-Type: {kind}\r\n\r\n"
        body += head.encode() + text + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", bytes(body) + f"--{boundary}--\r\n".encode()
