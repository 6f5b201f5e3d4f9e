"""The interface of MONAI Label in a first round: what it says, whom it lets in, what it takes and refuses."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError
from hybrid_al.oracles.formats.voxels import flat
from hybrid_al.oracles.ledger import Ledger
from hybrid_al.serve import asap, door, forms
from hybrid_al.serve.labels import LabelFile, label_file
from hybrid_al.serve.server import PASSWORD, Address
from tests.helpers.monai_client import MonaiClient
from tests.helpers.monai_server import monai_server
from tests.helpers.tiny import SIZE, recipe_of

HEIGHT, WIDTH = 5, 8
LABELS = ("nucleus", "wall", "ignore")
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
MASK[1:3, 2:6], MASK[3, 0], MASK[4, 7] = 1, 2, 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def words(runs: Path) -> Iterator[MonaiClient]:
    with monai_server(runs / "words", recipe_of("classification", oracle="worklist", learner="frozen")) as client:
        yield client


@pytest.fixture(scope="module")
def masks(runs: Path) -> Iterator[MonaiClient]:
    with monai_server(runs / "masks", recipe_of("segmentation", oracle="worklist")) as client:
        yield client


def png(labels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(labels).save(out, format="PNG")
    return out.getvalue()


def nifti(labels: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    image = flat(labels)
    return gzip.compress(image.to_bytes() if affine is None else nib.Nifti1Image(image.dataobj, affine).to_bytes())


def said_of(name: str, data: bytes, **params: Any) -> np.ndarray:
    """The label map that a file draws, in values of `LABELS`."""
    file = LabelFile(forms.Part(data, name), params, (HEIGHT, WIDTH), LABELS)
    plain, marks = file.answer("mask", ("background", *LABELS[:2]))
    assert plain["kind"] == "answer"
    out = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for mark in marks:
        assert mark.draw is not None
        out[mark.draw(HEIGHT, WIDTH)] = 1 + LABELS.index(mark.label)
    return out


def areas() -> list[tuple[str, Any]]:
    return [(name, value == MASK) for value, name in enumerate(LABELS, 1)]


SWAPPED = np.asarray([0, 2, 1, 3], dtype=np.uint8)[MASK]
INFO = [{"name": "wall", "idx": 1}, {"name": "nucleus", "idx": 2}, {"name": "ignore", "idx": 3}, {"name": "of mine"}]


@pytest.mark.parametrize(
    ("name", "data", "params"),
    [
        ("a.nrrd", label_file(MASK, ".nrrd")[0], {}),
        ("a.nii.gz", label_file(MASK, ".nii.gz")[0], {}),
        ("a.nii.gz", nifti(SWAPPED), {"label_info": INFO}),
        ("a.png", png(MASK), {}),
        ("label.bin", MASK.tobytes(), {}),
        ("a.xml", asap.write(areas()), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_label_files_of_every_tool_draw_the_same(name: str, data: bytes, params: dict[str, Any]) -> None:
    assert np.array_equal(said_of(name, data, **params), MASK)


MOVED = np.diag([-1.0, -1.0, 1.0, 1.0])
MOVED[0, 3] = 0.5


@pytest.mark.parametrize(
    ("name", "data", "params", "line"),
    [
        ("a.nii.gz", nifti(MASK.repeat(2, axis=1)), {}, "16 x 5 x 1 voxels, its image has 8 x 5 x 1"),
        ("a.nii.gz", nifti(MASK, MOVED), {}, "it lies 0.5 voxels beside its image"),
        ("a.nii.gz", nifti(MASK + 1), {}, r"the value 4, which is none of 0 , 1 nucleus, 2 wall, 3 ignore"),
        ("a.nii.gz", b"no volume", {}, "label a.nii.gz: expected a mask that lies on an image of the query"),
        ("a.png", png(MASK.repeat(2, axis=0)), {}, r"expected 5 x 8 pixels \(height x width\) .* got 10 x 8"),
        ("a.png", png(np.stack([MASK] * 3, axis=2)), {}, "a PNG of mode RGB"),
        ("label.bin", MASK.tobytes()[1:], {}, "39 bytes, its image has 5 x 8 pixels"),
        ("a.xml", b"<a/>", {}, "expected annotations of ASAP"),
        ("a.xml", asap.write([("wall", np.ones((9, 9), dtype=bool))]), {}, None),
        ("a.tif", b"", {}, r"label: expected a file ending in .nii.gz, .* got 'a.tif'"),
        ("a.json", b'{"label": "wall"}', {}, "a mask, or none or skip"),
        ("a.json", b'{"label": "skip", "why": 1}', {}, "the key 'why'"),
        ("a.json", b"[]", {}, "a JSON object, got list"),
        ("a.nii.gz", nifti(MASK), {"label_info": [{"name": "wall", "idx": 2}]}, "numbered from 1 on"),
        ("a.nii.gz", nifti(MASK), {"label_info": ["wall"]}, "each with a name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_are_no_label(name: str, data: bytes, params: dict[str, Any], line: str | None) -> None:
    with pytest.raises((InputError, ValueError), match=line) as error:
        said_of(name, data, **params)
    assert "\n" not in str(error.value) and "/tmp" not in str(error.value)


def test_it_says_what_there_is(words: MonaiClient, masks: MonaiClient) -> None:
    info = words.info()
    assert info["labels"] == ["lobed", "round", "skip"] and info["models"] == {} and "tiny" in info["trainers"]
    assert list(info["strategies"]) == ["random"] and info["datastore"]["total"] == 4
    assert masks.info()["labels"][-1] == "ignore"
    code, sample = words.next_sample("random")
    data = words.image(sample["id"])
    assert code == 200 and Image.open(io.BytesIO(data)).size == (SIZE, SIZE)
    assert (
        words.ask("GET", f"/datastore/image/info?{urlencode({'image': sample['sample']})}")[1]["path"] == sample["path"]
    )
    assert sample["path"] == sample["id"] + ".png"
    for path, code in (("/auth/", 200), ("/train/", 404), ("/train/?check_if_running=true", 404), ("/logs/", 200)):
        assert words.send("GET", path)[0] == code
    assert words.send("HEAD", f"/datastore/image?image={sample['id']}")[0] == 200
    assert words.send("HEAD", "/datastore/image?image=other")[0] == 404


def test_two_people_get_two_images(masks: MonaiClient) -> None:
    mine, again = (masks.next_sample("random")[1]["id"] for _ in range(2))
    other = MonaiClient(masks.url, "ben").next_sample("random")[1]["id"]
    assert mine == again != other


def test_what_a_client_asks_that_is_not_there(words: MonaiClient, runs: Path) -> None:
    _, sample = words.next_sample("random")
    manifest, asked = RunDir(runs / "words").manifest(), RunDir(runs / "words").query_ids(0) or ()
    other = next(name for name, split in zip(manifest.ids, manifest.splits, strict=True)
                 if split == "pool" and name not in asked)  # fmt: skip
    label = ("a.json", b'{"label": "lobed"}')
    cases: list[tuple[tuple[int, Any], int, str]] = [
        (words.next_sample("first"), 404, "strategy: expected random, which asks the query of this run, got 'first'"),
        (words.next_sample("random", image="x"), 400, "no 'Next Patch'"),
        (words.ask("POST", "/train/other"), 404, "model: expected tiny"),
        (words.ask("POST", "/train/tiny"), 400, "all 4 images of the query answered, got 4 missing"),
        (words.ask("DELETE", "/train/"), 404, "a training that runs"),
        (words.ask("POST", "/infer/other?image=x", {}), 404, "model: expected tiny"),
        (words.ask("POST", "/infer/tiny", {}), 400, "an image of this run, or a session_id"),
        (words.ask("POST", f"/infer/tiny?image={sample['id']}", {}), 404, "a round that is trained, got none yet"),
        (words.ask("POST", "/infer/tiny?session_id=x", {}), 404, "'x', which is over"),
        (words.ask("POST", f"/infer/tiny?image={sample['id']}&output=dicom_seg", {}), 400, "output"),
        (words.ask("GET", "/session/x"), 404, "one that is open"),
        (words.ask("GET", "/datastore/?output=train"), 400, "one of all, stats"),
        (words.ask("DELETE", "/datastore/image?id=x"), 400, "the images that this run began with"),
        (words.ask("GET", f"/datastore/label?label={sample['id']}&tag=final"), 404, "an image with an answer"),
        (words.ask("POST", "/activelearning/random", []), 400, "a JSON object, got list"),
        (words.ask("PUT", f"/datastore/label?image={sample['id']}"), 400, "a form"),
        (words.save("nothing", *label), 404, "an image of this run, got 'nothing'"),
        (words.save("000001-00000000", *label), 404, "one of another run or of other data"),
        (words.save(other, *label), 400, f"an image of the query of round 0, got {other!r}, not asked about"),
        (words.save(sample["id"], *label, tag="original"), 400, "tag: expected final"),
        (words.save(sample["id"], "a.json", b'{"label": "rounded"}'), 400, "did you mean 'round'"),
        (words.save(sample["id"], "a.json", b'{"label": "lobed;round"}'), 400, "expected one class"),
        (words.save(sample["id"], "a.json", b'{"label": "skip;round"}'), 400, "none or skip alone"),
        (MonaiClient(words.url, "").save(sample["id"], *label), 400, "reader: expected a name"),
    ]
    for (code, answer), expected, line in cases:
        assert code == expected and line in answer["detail"] and "\n" not in answer["detail"], (answer, line)
    assert Ledger(RunDir(runs / "words")).entries() == []


def test_answers_are_in_the_ledger_and_give_way_to_corrections(words: MonaiClient, runs: Path) -> None:
    _, sample = words.next_sample("random")
    drawn = np.zeros((SIZE, SIZE), dtype=np.uint8)
    drawn[3, 4] = 2
    assert words.save(sample["id"], "a.nrrd", label_file(drawn, ".nrrd")[0]) == (
        200,
        {"image": sample["id"], "label": sample["id"]},
    )
    ledger = Ledger(RunDir(runs / "words"))
    (entry,) = ledger.entries()
    assert (entry.text, entry.reader, entry.sample, entry.kind) == ("round", "anna", sample["sample"], "class")
    assert entry.seconds > 0
    code, _, text = words.send("GET", f"/datastore/label?label={sample['id']}&tag=final")
    assert code == 200 and json.loads(text) == {"label": "round"}
    assert words.next_sample("random")[1]["id"] != sample["id"]
    other = MonaiClient(words.url, "ben")
    code, answer = other.save(sample["id"], "a.json", b'{"label": "lobed"}')
    assert code == 409 and "anna answered round" in answer["detail"]
    assert other.save(sample["id"], "a.json", b'{"label": "lobed"}', replace=True)[0] == 200
    skip = b'{"label": "skip", "reason": "unsure", "comment": "blurred", "seconds": 3.5}'
    assert other.save(sample["sample"], "a.json", skip)[0] == 200
    last = ledger.entries()[-1]
    assert (last.kind, last.reason, last.comment, last.seconds, last.reader) == (
        "skip",
        "unsure",
        "blurred",
        3.5,
        "ben",
    )
    assert words.ask("GET", "/datastore/?output=all")[1]["objects"][sample["id"]]["labels"]["final"]["ext"] == ".json"
    code, _ = words.ask("DELETE", f"/datastore/label?id={sample['id']}&tag=final")
    assert code == 400, "nobody said who takes it back"


def test_masks_come_back_as_they_were_given(masks: MonaiClient, runs: Path) -> None:
    _, sample = masks.next_sample("random")
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[2:5, 3:9], unknown = 1, len(masks.info()["labels"])
    mask[10] = unknown
    wrong = label_file(mask[:-1], ".nrrd")[0]
    code, answer = masks.save(sample["id"], "a.nrrd", wrong)
    assert code == 400 and "voxels, its image has" in answer["detail"]
    assert masks.save(sample["id"], "a.nrrd", label_file(mask, ".nrrd")[0])[0] == 200
    code, headers, data = masks.send("GET", f"/datastore/label?label={sample['id']}&tag=final")
    assert code == 200 and headers["content-disposition"].endswith('.nrrd"') and data == label_file(mask, ".nrrd")[0]
    (entry,) = Ledger(RunDir(runs / "masks")).entries()
    stored = np.asarray(Image.open(runs / "masks" / entry.text))
    assert np.array_equal(stored, np.where(mask == unknown, IGNORE, mask))


def test_whom_it_lets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PAUSE", 0.0)
    recipe, page = recipe_of("classification", oracle="worklist"), "http://localhost:3000"
    with monai_server(tmp_path / "run", recipe, password="right", origin=page) as client:
        for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert client.send("GET", "/info/", headers=headers)[0] == 403
        assert client.ask("GET", "/auth/")[1]["enabled"] is True
        assert client.send("GET", "/info/")[0] == 401 and client.send("GET", "/auth/token/valid")[0] == 401
        form = "application/x-www-form-urlencoded"
        code, _, text = client.send("POST", "/auth/token", b"username=eve&password=wrong&grant_type=password", form)
        assert code == 401 and b"another password" in text
        code, _, text = client.send("POST", "/auth/token", b"username=eve&password=right&grant_type=password", form)
        client.token = json.loads(text)["access_token"]
        assert code == 200 and client.ask("GET", "/auth/token/valid") == (200, {"username": "eve"})
        code, headers, _ = client.send("GET", "/info/", headers={"origin": page})
        assert code == 200 and headers["access-control-allow-origin"] == page
        asked = {"origin": page, "access-control-request-method": "PUT", "access-control-request-headers": "x"}
        assert client.send("OPTIONS", "/datastore/label", headers=asked)[0] == 200
        _, sample = client.next_sample("random")
        assert client.save(sample["id"], "a.json", b'{"label": "skip"}')[0] == 200
        assert Ledger(RunDir(tmp_path / "run")).entries()[0].reader == "eve", "the token says who, not the client"
        assert client.send("DELETE", f"/datastore/label?id={sample['id']}&tag=final")[0] == 200
        assert client.info()["datastore"]["completed"] == 0


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    assert Address("127.0.0.1", 8000).names(8000) == {"127.0.0.1:8000", "localhost:8000"}
    for host, line in (("0.0.0.0", "the address of this machine"), ("192.168.0.7", f"a password in {PASSWORD}")):
        with pytest.raises(InputError, match=line):
            Address(host, 8000)
    with pytest.raises(InputError, match="--origin"):
        Address("127.0.0.1", 8000, ("http://localhost:3000/viewer",))
    monkeypatch.setenv(PASSWORD, "x")
    assert Address("192.168.0.7", 80).names(80) == {"192.168.0.7:80"}


@pytest.mark.parametrize("body", [b"", b"--b\r\n", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'])
def test_forms_that_are_cut(body: bytes) -> None:
    with pytest.raises(InputError, match="a whole form"):
        forms.read("multipart/form-data; boundary=b", body)


def test_a_form_is_read_as_it_was_written() -> None:
    data = bytes(range(256)) + b"\r\n--\r\n\n\r"
    form = forms.read(*forms.write({"a": "ü"}, "x.nrrd", data))
    assert form.params() == {"a": "ü"} and form.file("image") == forms.Part(data, "x.nrrd")
