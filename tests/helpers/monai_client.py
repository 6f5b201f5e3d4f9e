"""A client of MONAI Label on the standard library, from the public description of its interface."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

BOUNDARY = "----------a_boundary_of_$"


@dataclass
class MonaiClient:
    """Asks a server as 3D Slicer does; the answers are (code, headers, bytes)."""

    url: str
    client_id: str = "anna"
    token: str = ""

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        place = urlsplit(self.url)
        more = {"content-type": kind} if kind else {}
        more |= {"Authorization": f"bearer {self.token}"} if self.token else {}
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)
        try:
            connection.request(method, path, body, {**more, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, plain: object = None) -> tuple[int, Any]:
        """Code and JSON."""
        body = None if plain is None else json.dumps(plain).encode()
        code, _, text = self.send(method, path, body, "application/json" if body else "")
        return code, json.loads(text) if text else None

    def info(self) -> Any:
        return self.ask("GET", "/info/")[1]

    def next_sample(self, strategy: str, **params: Any) -> tuple[int, Any]:
        return self.ask("POST", f"/activelearning/{quote(strategy)}", {**params, "client_id": self.client_id})

    def image(self, name: str) -> bytes:
        code, _, data = self.send("GET", f"/datastore/image?image={quote(name)}")
        assert code == 200, data
        return data

    def form(self, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> tuple[bytes, str]:
        """A form as the client of MONAI Label writes it."""
        body = b""
        for key, value in fields.items():
            body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, (name, data) in files.items():
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"; filename="{name}"\r\n'
            body += f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n"
        return body + f"--{BOUNDARY}--\r\n\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"

    def save(self, image: str, file: str, data: bytes, tag: str = "", **params: Any) -> tuple[int, Any]:
        """Submit a label."""
        query = urlencode({"image": image, **({"tag": tag} if tag else {})})
        fields = {"params": json.dumps({**params, "client_id": self.client_id} if self.client_id else params)}
        body, kind = self.form(fields, {"label": (file, data)})
        code, _, text = self.send("PUT", f"/datastore/label?{query}", body, kind)
        return code, json.loads(text)

    def infer(self, model: str, image: str, session: str = "", **query: str) -> tuple[int, Mapping[str, str], bytes]:
        """What a model says of an image, expected as `.nrrd`."""
        params = {"result_extension": ".nrrd", "client_id": self.client_id}
        body, kind = self.form({"params": json.dumps(params)}, {})
        more = {**query, **({"session_id": session} if session else {})}
        return self.send("POST", f"/infer/{quote(model)}?{urlencode({'image': image, **more})}", body, kind)

    def lend(self, file: str, data: bytes) -> tuple[int, Any]:
        """Open a session with an image."""
        body, kind = self.form({}, {"files": (file, data)})
        code, _, text = self.send("PUT", "/session/", body, kind)
        return code, json.loads(text)
