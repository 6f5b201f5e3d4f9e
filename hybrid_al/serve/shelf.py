"""The images of an open query under the names that clients know, what the model says of them, and their answers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import __version__
from ..api.answers import dicom_of, plane_of
from ..api.pixels_only import files_of
from ..core.types import IGNORE, FloatArray, LabelMap
from ..data.answers import read_answer
from ..data.display import picture
from ..data.own_size import own_labels
from ..errors import InputError
from ..oracles.base import NONE, SEPARATOR, SKIP
from ..oracles.formats.base import BOXES, UNKNOWN, Plane, code, image_name, labels_of, volume_name
from ..oracles.formats.intake import NAME, draw, kind_words
from ..oracles.formats.sheets import png_of
from ..oracles.masks import ASKED
from ..page.app import Page
from ..page.desk import Pick, Refused, Standing
from .forms import Part
from .labels import LabelFile
from .volumes import Slices

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

    from ..assemble import Project
    from ..page.pictures import ProjectPictures

UID = re.compile(r"[0-9.]{1,64}")
FINAL = "final"
"""The tag of a label that is an answer."""


class Missing(InputError):
    """Something that clients name and that is not there."""


@dataclass
class GivenOut:
    """An image that a client got: to whom, when by a clock that nobody sets, and what the model then said of it."""

    client: str
    time: float
    proposal: object = None


class Shelf:
    """What the interface says of a run; answers go through the desk of the page, so into the ledger.

    asked_only  of a label volume what is drawn on slices that nobody asked about is left out; else it is refused
    """

    def __init__(self, project: Project, page: Page, pictures: ProjectPictures, *, asked_only: bool = False) -> None:
        self._asked_only = asked_only
        self._project, self._page, self._pictures = project, page, pictures
        self._desk, self._manifest = page.desk, project.dataset.manifest
        self.kind, self._classes = page.desk.kind, page.desk.classes
        if self.kind in BOXES:
            raise InputError("serve", "a run whose answers are classes or masks", "one that asks for boxes")
        self.labels = labels_of(self.kind, self._classes)
        self.name = project.recipe.name
        self.strategy = project.recipe.query.name
        self._given: dict[tuple[int, int], GivenOut] = {}
        self._lock = threading.Lock()

    # -- the project --------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What a client needs to begin."""
        kind = "segmentation" if self._project.task.drawable else "classification"
        model = {"type": kind, "labels": self.values, "dimension": 2 if self._plane(0) is None else 3, "config": {}}
        first = self._project.recipe.cold_start.name
        return {
            "name": f"hybrid-al {self.name}",
            "description": f"round {self._desk.round()}, {kind_words(self.kind)}, one image at a time",
            "version": __version__,
            "labels": list(self.labels),
            "models": {self.name: model | {"description": "The model of the last round"}} if self.has_model else {},
            "trainers": {self.name: {"description": "The next round, where the query is answered", "config": {}}},
            "strategies": {self.strategy: {"description": f"The open query ({first} first)", "config": {}}},
            "scoring": {},
            "train_stats": {},
            "datastore": self.counts(),
        }

    @property
    def has_model(self) -> bool:
        """Whether a round is trained."""
        return self._desk.round() > 0

    @property
    def values(self) -> dict[str, int]:
        """Label -> its value in a label map."""
        return {name: value for value, name in enumerate(self.labels, 1)}

    def check_model(self, name: str) -> None:
        """Missing where a client asks for another model than the one of the run."""
        if name != self.name:
            raise Missing("model", f"{self.name}, the one of this run", repr(name))

    # -- images -------------------------------------------------------------------------------------------------------

    def next_sample(self, strategy: str, client: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The best image of the open query without an answer, those last that other clients have; {} for none."""
        if strategy != self.strategy:
            raise Missing("strategy", f"{self.strategy}, which asks the query of this run", repr(strategy))
        if params.get("image"):
            raise InputError("image", "none: whole images are asked about (QuPath: no 'Next Patch')", "one")
        with self._lock:
            r = self._desk.round()
            standings, picks = self._desk.standings(r), self._desk.picks(r).values()
            waiting = [pick for pick in picks if pick.sample not in standings]
            if not waiting or self._page.training.runs:
                return {}
            held = {i for (round, i), out in self._given.items() if round == r and out.client != client}
            pick = next((one for one in waiting if one.index not in held), waiting[0])
            if (self._desk.run.round_path(r) / ASKED / f"{pick.index:06d}.png").is_file():
                raise InputError("serve", "a query about whole images", "one about regions: use hybrid-al label")
            image = self._id(pick.index) if (plane := self._plane(pick.index)) is None else plane.name
            of_image = [pick.index] if plane is None else list(self._slices[image].planes)
            for i in of_image:
                if (r, i) not in self._given or i in held:
                    self._given[r, i] = GivenOut(client, time.monotonic())
        return {"id": image, **self.about(image), "strategy": {strategy: {"client_id": client}},
                "rank": 1 + list(picks).index(pick), "score": pick.score, "reason": pick.reason}  # fmt: skip

    def _plane(self, index: int) -> Plane | None:
        """The slice that a sample is of a volume that is served whole: where masks are asked for."""
        data = self._project.recipe.data
        return plane_of(self._manifest, index, files_of(data), data.params) if self.kind == "mask" else None

    @property
    def _slices(self) -> dict[str, Slices]:
        """The volumes that the open query asks about by name."""
        picks = self._desk.picks(self._desk.round()).values()
        return Slices.by_volume((pick.index, self._plane(pick.index)) for pick in picks)

    def _id(self, index: int) -> str:
        return image_name(self._manifest, index)

    def find(self, image: str) -> int:
        """The position of an image by our name of it, the id of its sample, or the UID of its DICOM series."""
        if match := NAME.fullmatch(image):
            index = int(match[1])
            if index < len(self._manifest) and code(self._manifest, self._manifest.ids[index]) == match[2]:
                return index
            raise Missing("image", "an image of this run", f"{image}, one of another run or of other data")
        if (known := self._manifest.find(image)) is not None:
            return known
        if UID.fullmatch(image) and (rows := self._series.get(image)):
            if len(rows) > 1:
                expected = "a series of one image (this run asks about its slices one by one)"
                raise InputError("image", expected, f"a series of {len(rows)} in this run")
            return rows[0]
        if any(image == volume_name(self._manifest, path) for path in set(self._manifest.paths)):
            raise Refused("stale", f"no slice of {image} is asked about in round {self._desk.round()}")
        raise Missing("image", "an image of this run", repr(image))

    @cached_property
    def _series(self) -> dict[str, list[int]]:
        """UID of a DICOM series -> positions of its images; headers are read once, of DICOM data alone."""
        files, found = files_of(self._project.recipe.data), dict[str, list[int]]()
        first = dicom_of(self._manifest, 0, files)
        for i in range(len(self._manifest)) if first is not None else ():
            one = dicom_of(self._manifest, i, files)
            if one is not None:
                found.setdefault(one.series, []).append(i)
        return found

    def image(self, image: str) -> tuple[bytes, str]:
        """(file, its name): a PNG of 8 bits, as a person sees the image; of a volume packed NIfTI."""
        if (slices := self._slices.get(image)) is not None:
            return slices.image(), f"{image}.nii.gz"
        index = self.find(image)
        return png_of(partial(picture, self._project.dataset), index), f"{self._id(index)}.png"

    def about(self, image: str) -> dict[str, Any]:
        """What a client is told of an image; nothing that its path would say."""
        data, name = self.image(image)
        digest = hashlib.sha256(data).hexdigest()
        slices = self._slices.get(image)
        of = {"sample": self._manifest.ids[self.find(image)]} if slices is None else slices.told(self._manifest)
        return {"name": name, "path": name, "checksum": f"SHA256:{digest}", **of}

    def counts(self) -> dict[str, Any]:
        """How many images the open query has, and how many are answered."""
        progress = self._desk.progress()
        tags = {FINAL: progress["done"]} if progress["done"] else {}
        return {"total": progress["total"], "completed": progress["done"], "label_tags": tags}

    def objects(self) -> dict[str, Any]:
        """The images of the open query, with their answers."""
        r = self._desk.round()
        standings, volumes = self._desk.standings(r), self._slices
        single = {
            self._id(pick.index): {
                "image": {"ext": ".png", "info": {"sample": pick.sample, "reason": pick.reason}},
                "labels": {FINAL: self._label(standings[pick.sample].text)} if pick.sample in standings else {},
            }
            for pick in self._desk.picks(r).values()
            if self._plane(pick.index) is None
        }
        whole = {
            name: {
                "image": {"ext": ".nii.gz", "info": slices.told(self._manifest)},
                "labels": {FINAL: self._label("")} if self._answered(slices).keys() == slices.planes.keys() else {},
            }
            for name, slices in volumes.items()
        }
        return single | whole

    def _answered(self, slices: Slices) -> dict[int, Standing]:
        """The answers about slices by position."""
        standings, ids = self._desk.standings(self._desk.round()), self._manifest.ids
        return {i: standings[ids[i]] for i in slices.planes if ids[i] in standings}

    def _label(self, text: str) -> dict[str, Any]:
        drawn = not self._desk.in_words and text != SKIP
        return {"ext": ".nrrd" if drawn else ".json", "info": {"label_info": [] if drawn else [{"name": text}]}}

    # -- the model ----------------------------------------------------------------------------------------------------

    def says(self, image: str, client: str) -> Nifti1Image | LabelMap | dict[str, float]:
        """As `proposal`, of an image by its id; of a volume on the slices that are asked about."""
        if (slices := self._slices.get(image)) is None:
            return self.proposal(self.find(image), client)
        return slices.labels({i: cast(LabelMap, self.proposal(i, client)) for i in slices.planes})

    def proposal(self, index: int, client: str) -> LabelMap | dict[str, float]:
        """What the last model says of an image: values of labels (H, W), or the probability of each class."""
        probs = self._pictures.outputs(index)
        if probs is None:
            raise Missing("model", "a round that is trained", "none yet")
        said = self.said(probs, *self._pictures.size(index))
        if (out := self._given.get((self._desk.round(), index))) is not None and out.client == client:
            out.proposal = self._proposed(said)
        return said

    def said(self, probs: FloatArray, height: int, width: int) -> LabelMap | dict[str, float]:
        """The outputs of the model of one image, for a client."""
        if probs.ndim == 1:
            return {name: round(p, 4) for name, p in zip(self._classes, probs.tolist(), strict=True)}
        table = np.asarray([self.values.get(name, 0) for name in self._classes], dtype=np.uint8)
        return table[own_labels(probs, height, width)]

    def _proposed(self, said: LabelMap | dict[str, float]) -> object:
        """The answer that would accept what the model says."""
        if not isinstance(said, dict):
            back = np.zeros(256, dtype=np.uint8)
            back[: len(self.labels) + 1] = [0, *(self._number(name) for name in self.labels)]
            return back[said].tobytes()
        if self.kind == "classes":
            return tuple(name for name, p in said.items() if p >= 0.5)
        return (max(said, key=lambda name: said[name]),)

    def _number(self, name: str) -> int:
        return IGNORE if name == UNKNOWN else self._classes.index(name)

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer(self, image: str, tag: str, part: Part, params: Mapping[str, Any], reader: str) -> dict[str, Any]:
        """Take the label of an image: once this returns it is on the disk."""
        if tag not in ("", FINAL):
            raise InputError("tag", f"{FINAL}, as others are no answers", repr(tag))
        if (slices := self._slices.get(image)) is not None:
            self._answer_slices(slices, part, params, reader)
            return {"image": image, "label": image}
        index = self.find(image)
        pick = self._pick(index)
        plain, marks = LabelFile(part, params, self._pictures.size(index), self.labels).answer(self.kind, self._classes)
        self._give(pick, part.file or "", plain, marks, reader, replace=params.get("replace") is True)
        return {"image": self._id(index), "label": self._id(index)}

    def _answer_slices(self, slices: Slices, part: Part, params: Mapping[str, Any], reader: str) -> None:
        """Take a label volume: an answer about each of the slices, all or none."""
        picks = {image_name(self._manifest, i): self._pick(i) for i in slices.planes}
        replace = params.get("replace") is True
        others = {standing.reader for standing in self._answered(slices).values()} - {reader}
        if others and not replace:
            raise Refused("other", f"{', '.join(sorted(others))} answered about slices of {slices.name}; replace them?")
        file = LabelFile(part, params, self._pictures.size(next(iter(slices.planes))), self.labels)
        plain, marks = file.slices(
            self.kind, self._classes, slices.reference(self._manifest), asked_only=self._asked_only
        )
        for pick in picks.values():  # whatever cannot be drawn is refused before anything is taken
            self._drawn(part.file or "", marks[self._id(pick.index)], self._pictures.size(pick.index))
        for name, pick in picks.items():
            self._give(pick, part.file or "", dict(plain), marks[name], reader, replace=replace, share=len(picks))

    def _give(
        self,
        pick: Pick,
        file: str,
        plain: dict[str, Any],
        marks: tuple[Any, ...],
        reader: str,
        *,
        replace: bool,
        share: int = 1,
    ) -> None:
        """Hand an answer to the desk, with its proposal and its seconds, which `share` answers have together."""
        index, now, size = pick.index, time.monotonic(), self._pictures.size(pick.index)
        answer: object = tuple(plain.get("classes", ()))
        if not self._desk.in_words and plain["kind"] == "answer":
            pixels = self._drawn(file, marks, size)
            answer = pixels.tobytes()
            coded = base64.b64encode(pixels.tobytes()).decode()
            plain["mask"] = {"height": size[0], "width": size[1], "pixels": coded}
            plain.pop("classes", None)
        out = self._given.get((self._desk.round(), index))
        if out is not None and out.client == reader:
            plain.setdefault("seconds", round((now - out.time) / share, 1))
            if out.proposal is not None and plain["kind"] == "answer":
                plain["proposal"] = "accepted" if answer == out.proposal else "edited"
        self._submit(pick, reader, {**plain, "replace": replace})

    def _drawn(self, file: str, marks: tuple[Any, ...], size: tuple[int, int]) -> LabelMap:
        try:
            return draw(marks, size, self.kind, self._classes)
        except ValueError as error:
            raise InputError(f"label {file}", "areas of the labels of /info/ on the image", str(error)) from None

    def withdraw(self, image: str, tag: str, reader: str) -> None:
        """Take a reader's own answer back."""
        if tag != FINAL:
            raise Missing("tag", FINAL, repr(tag))
        slices = self._slices.get(image)
        for index in [self.find(image)] if slices is None else self._answered(slices) or slices.planes:
            self._submit(self._pick(index), reader, {"kind": "withdrawn"})

    def _pick(self, index: int) -> Pick:
        """The pick of an image of the open query."""
        r, sample = self._desk.round(), self._manifest.ids[index]
        if self._page.training.runs:
            raise Refused("stale", "the round is being trained, so this answer was not taken")
        picks = self._desk.picks(r)
        if sample in picks:
            return picks[sample]
        if any(sample in (self._desk.run.query_ids(before) or ()) for before in range(r)):
            raise Refused("stale", f"{sample} was asked about in an earlier round: hybrid-al labels corrects it")
        raise InputError("image", f"an image of the query of round {r}", f"{sample!r}, not asked about")

    def _submit(self, pick: Pick, reader: str, plain: Mapping[str, Any]) -> None:
        self._desk.answer({**plain, "id": str(uuid.uuid4()), "round": self._desk.round(), "sample": pick.sample,
                           "reader": reader})  # fmt: skip
        self._page.state()  # goes on with the loop where it was told to

    def label(self, image: str, tag: str) -> tuple[Nifti1Image | LabelMap | bytes, str]:
        """The answer about an image: values of labels (H, W), a volume of them, or JSON; and the name of its file."""
        if (slices := self._slices.get(image)) is not None:
            drawn = {i: self.label(self._id(i), tag)[0] for i in self._answered(slices)}
            if not drawn:
                raise Missing("label", f"an image with an answer, tag {FINAL}", f"{image} with tag {tag!r}")
            return slices.labels(
                {i: cast(LabelMap, said) for i, said in drawn.items() if not isinstance(said, bytes)}
            ), image
        index = self.find(image)
        standing = self._desk.standings(self._desk.round()).get(self._manifest.ids[index])
        if standing is None or tag != FINAL:
            raise Missing("label", f"an image with an answer, tag {FINAL}", f"{image} with tag {tag!r}")
        if self._desk.in_words or standing.text in (SKIP, NONE):
            return json.dumps({"label": standing.text}, ensure_ascii=False).encode(), self._id(index)
        file = self._desk.drawing(index)
        if file is None:
            raise Missing("label", "an answer that was given here or on the page", "one that came in by file")
        table = np.zeros(256, dtype=np.uint8)
        for name, value in self.values.items():
            table[self._number(name)] = value
        return table[read_answer(file)], self._id(index)

    def label_info(self, image: str, tag: str) -> dict[str, Any]:
        """What a client is told of an answer; Missing as `label`."""
        self.label(image, tag)
        if image in self._slices:
            return {"label_info": []}
        standing = self._desk.standings(self._desk.round())[self._manifest.ids[self.find(image)]]
        info: dict[str, Any] = self._label(standing.text)["info"]
        return info

    def summary(self, said: Mapping[str, float]) -> dict[str, Any]:
        """What a client is told of classes of an image."""
        chosen = cast(tuple[str, ...], self._proposed(dict(said)))
        return {"label": SEPARATOR.join(chosen) or NONE, "scores": dict(said)}
