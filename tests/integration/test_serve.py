"""Whole loops answered by a client of MONAI Label: the labels are those of a simulated oracle."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
from PIL import Image

from hybrid_al.assemble import Project
from hybrid_al.core.rundir import RunDir
from hybrid_al.data.answers import read_answer
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.serve.labels import label_file
from tests.helpers.monai_client import MonaiClient
from tests.helpers.monai_server import monai_server
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

pytestmark = pytest.mark.slow


def labels(run: Path, n: int) -> dict[int, tuple[str, object, int]]:
    """Sample -> kind, what it says, round."""

    def said(target: object) -> object:
        return read_answer(run / target).tolist() if isinstance(target, str) else target

    return {a.index: (a.kind, said(a.target), a.round) for a in RunDir(run).labels(n).annotations}


def train(client: MonaiClient) -> None:
    code, task = client.ask("POST", "/train/tiny")
    assert code == 200 and task["status"] == "RUNNING", task
    deadline = time.monotonic() + 300
    while client.ask("GET", "/train/?check_if_running=true")[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert client.ask("GET", "/train/")[1]["status"] == "DONE"


def parts(headers: Mapping[str, str], body: bytes) -> dict[str, bytes]:
    """The fields of a form, by a parser of the standard library."""
    message = message_from_bytes(f"content-type: {headers['content-type']}\r\n\r\n".encode() + body)
    fields: dict[str, bytes] = {}
    for one in message.walk():
        if not one.is_multipart():
            payload = one.get_payload(decode=True)
            assert isinstance(payload, bytes)
            fields[str(one.get_param("name", header="content-disposition"))] = payload
    return fields


def proposal(client: MonaiClient, image: str) -> np.ndarray:
    """The label map that the model draws, as the file and as the form that clients ask for."""
    code, _, alone = client.infer("tiny", image, output="image")
    assert code == 200 and alone.startswith(b"NRRD")
    code, headers, body = client.infer("tiny", image)
    form = parts(headers, body)
    assert code == 200 and form["image"] == alone and json.loads(form["params"])["label_names"]
    stream = io.BytesIO(alone)
    header = nrrd.read_header(stream)
    return np.asarray(nrrd.read_data(header, stream))[:, :, 0].T


def answer(client: MonaiClient, project: Project, sample: dict[str, Any], accepts: bool) -> None:
    data = project.dataset
    index = data.manifest.position[sample["sample"]]
    if data.masks is None:
        text = json.dumps({"label": data.classes[data.truth[index]]})
        file: tuple[str, bytes] = ("label.json", text.encode())
    else:
        mask = np.asarray(data.masks.read(index))
        file = ("label.nii.gz", label_file(mask, ".nii.gz")[0]) if index % 2 else ("a.png", png(mask))
        if accepts:
            assert proposal(client, sample["id"]).shape == mask.shape
    assert client.save(sample["id"], *file)[0] == 200


def png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(mask).save(out, format="PNG")
    return out.getvalue()


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_two_rounds(tmp_path: Path, task: str) -> None:
    plain = recipe_of(task, learner="frozen") if task == "classification" else recipe_of(task)
    truth = play(tmp_path / "simulated", plain)
    with monai_server(tmp_path / "run", {**plain, "oracle": "worklist"}) as client:
        for round in range(2):
            while sample := client.next_sample("random")[1]:
                assert sample["checksum"].startswith("SHA256:") and client.image(sample["id"]).startswith(b"\x89PNG")
                answer(client, truth, sample, bool(round))
                old = sample["id"]
            if not round:
                train(client)
                code, said = client.save(old, "a.json", b'{"label": "skip"}')
                assert code == 409 and "earlier round" in said["detail"], "a client that was left open"
                look_at_the_model(client, task)
        train(client)
        assert client.next_sample("random") == (200, {})
    n = len(truth.dataset.manifest)
    assert labels(tmp_path / "run", n) == labels(tmp_path / "simulated", n)
    entries = Ledger(RunDir(tmp_path / "run")).entries()
    assert len(entries) == 6 and {e.reader for e in entries} == {"anna"}
    proposed = [e.proposal for e in entries if e.proposal]
    assert len(proposed) == (2 if task == "segmentation" else 1), "where the client asked what the model says"


def look_at_the_model(client: MonaiClient, task: str) -> None:
    """What the model says of an image of the run, and of one that is lent."""
    sample = client.next_sample("random")[1]
    image = client.image(sample["id"])
    code, lent = client.lend("mine.png", image)
    assert code == 200
    session = lent["session_id"]
    answers = [client.infer("tiny", sample["id"]), client.infer("tiny", "", session)]
    assert [code for code, _, _ in answers] == [200, 200]
    if task == "classification":
        for _, _, text in answers:
            scores = json.loads(text)["scores"]
            assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
            assert json.loads(text)["label"] == max(scores, key=lambda name: scores[name])
    else:
        code, _, text = client.send("POST", f"/infer/wsi/tiny?image={sample['id']}&output=asap")
        assert code == 200 and b"ASAP_Annotations" in text
    assert client.ask("DELETE", f"/session/{session}")[0] == 200
    assert client.infer("tiny", "", session)[0] == 404
    code, _, text = client.infer("tiny", "", client.lend("mine.png", b"no image")[1]["session_id"])
    assert code == 400 and b"session: expected an image" in text


def test_blind_readers_hear_nothing_of_the_model_and_of_each_other(tmp_path: Path) -> None:
    oracle = {"name": "worklist", "readers": ["anna", "ben"]}
    recipe = recipe_of("classification", learner="linear", train={"name": "supervised"}, oracle=oracle)
    with monai_server(tmp_path / "run", recipe, reader="anna") as client:
        code, said = client.ask("POST", "/infer/tiny?image=000000.png")
        assert code >= 400 and "oracle.blind: false" in str(said)
        assert client.ask("GET", "/datastore/")[1]["total"] == 4
