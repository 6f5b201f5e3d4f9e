"""The sections of a recipe and their defaults; unknown keys are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ..core.embeddings import PLAIN, USED
from ..core.files import home
from ..core.limits import Limits
from ..errors import InputError, UnknownName, reading
from .files import mapping_of

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
FREE = ("root", "images", "on_leak", "grow", "workers")  # keys of data that two calls of a run need not share
PROBE = "probe"  # the value of embeddings.use that lets labels choose
Int = Annotated[int, Field(strict=True)]  # neither true nor "3"
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bool = Annotated[bool, Field(strict=True)]
Value = str | int | float | bool | None | list[Any] | dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    """A component: its name, and parameters that the component itself checks."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def params(self) -> dict[str, Value]:
        """Everything beside the keys that every component of the kind has."""
        return dict(self.model_extra or {})


class Component(_Open):
    """`{name: typiclust, ...}`, or just `typiclust`."""

    name: str


ComponentOrName = Annotated[Component, BeforeValidator(lambda v: {"name": v} if isinstance(v, str) else v)]


def _from_home(path: Any) -> Any:
    """A path with the home directory in the place of ~."""
    return str(home(path) / path[2:]) if isinstance(path, str) and (path == "~" or path[:2] == "~/") else path


class Data(_Open):
    """Where the images are; further keys (`root`, `columns`, `group`, ...) belong to the source.

    ids  plain, or hashed: ids, paths and groups are salted hashes wherever a run writes them (`core.hidden`)
    bag  what names the bag of each sample, where several have one label together (`data.bags`): group, a column of the
         table, or a pattern of ids; {column or pattern: ..., label: highest} where rows of a bag have several labels
    grow whether a run takes in new files behind its own when it is called again (`data.growth`)
    max_pixels, max_voxels  of an image, slice or frame, and of a file; a larger one is refused by its header
    workers  threads that decode the files once, into the cache of decoded images; results do not depend on it
    """

    source: str = "phantom"
    image_size: Annotated[Int, Field(ge=8, le=4096)] = 32
    channels: Literal[1, 3] | None = None
    on_leak: Literal["warn", "error"] = "warn"
    ids: Literal["plain", "hashed"] = "plain"
    grow: Bool = False
    bag: str | dict[str, str] | None = None
    workers: Annotated[Int, Field(ge=1, le=64)] = 1
    max_pixels: Annotated[Int, Field(ge=64, le=2**40)] = Limits.pixels
    max_voxels: Annotated[Int, Field(ge=64, le=2**40)] = Limits.voxels

    @model_validator(mode="before")
    @classmethod
    def _check_texts(cls, values: Any) -> Any:
        """Paths from ~ are made whole; names that YAML takes for something else are refused."""
        if not isinstance(values, dict):
            return values
        for key, kinds in (("classes", str), ("labels", str), ("unknown", (str, int, float))):
            names = values.get(key)
            for name in names if isinstance(names, list) else ():
                if isinstance(name, bool) or not isinstance(name, kinds):
                    expected = 'texts: in quotes where YAML reads something else, as "no", "yes", "1" or "null"'
                    raise InputError(f"data.{key}", expected, f"{name!r} without quotes")
        return {k: _from_home(v) if k in ("root", "images", "masks") else v for k, v in values.items()}

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What says nothing is left out, plain ids, one worker and the usual limits, as in recipes that were noted."""
        limits = ("max_pixels", Limits.pixels), ("max_voxels", Limits.voxels)
        nothing = (("ids", "plain"), ("grow", False), ("bag", None), ("workers", 1), *limits)
        return {k: v for k, v in plain(self).items() if (k, v) not in nothing}


class EncoderSection(_Section):
    """A timm network and what it starts from: null (random), `pretrained` (of timm or a package), or a path.

    The path is that of a previous stage 0, or of published weights of this architecture (safetensors or a file of
    torch), such as DINOv2's. `options` are timm's, such as `{patch_size: 4}` of a vision transformer or
    `{output_stride: 8}` of a ResNet. `input_size` is the side to which images are scaled for the network; null: as
    they are (`data.image_size`). `pool: stages` lays the mean of each stage's feature maps beside the network's output,
    `centre` also that of their middle (see `models.encoder.Encoder`).
    """

    name: str = "resnet10t"
    weights: Annotated[str | None, BeforeValidator(_from_home)] = None
    options: dict[str, str | int | float | bool | None] = {}
    input_size: Annotated[Int, Field(ge=8, le=4096)] | None = None
    pool: Literal["stages", "centre"] | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options without a value are left out, as they are in the recipes that `benchmarks/` noted."""
        return {k: v for k, v in plain(self).items() if k not in ("options", "input_size", "pool") or v}


def _pipeline(value: object) -> object:
    """The content of a file in the place of its name."""
    if not isinstance(value, str):
        return value
    path, where = Path(value), f"views: {value}"
    with reading(where, "a pipeline of albumentations"):
        is_file = path.is_file()
    if not is_file:
        raise InputError(where, "a pipeline of albumentations, or its YAML or JSON file", "no such file")
    if path.suffix != ".json":
        return mapping_of(path)[1]
    with reading(where, "JSON"):
        return json.loads(path.read_text(encoding="utf-8"))


PipelineOrFile = Annotated[dict[str, Value] | None, BeforeValidator(_pipeline)]


class ViewsSection(_Section):
    """Pipelines of albumentations in the place of views of the modality; null: that of the modality.

    Each is what `albumentations.to_dict` gives, or a YAML or JSON file of it, whose content then is part of the recipe.
    """

    pretrain: PipelineOrFile = None
    weak: PipelineOrFile = None
    strong: PipelineOrFile = None

    @property
    def pipelines(self) -> dict[str, dict[str, Value]]:
        """Those that are given, by the kind of view."""
        kinds = {"pretrain": self.pretrain, "weak": self.weak, "strong": self.strong}
        return {kind: pipeline for kind, pipeline in kinds.items() if pipeline is not None}


class EmbeddingsSection(_Section):
    """What the strategies read: embeddings by the encoder of stage 0 (`plain`), by other encoders, or several at once.

    sets    name -> an encoder, taken as it is; its embeddings are made beside `plain`
    use     a set; several, to be laid side by side; or `probe`: the best of each alone and all together, by the labels
            of val or, where it has none, in a simulation of the pool
    whiten  directions to keep of a PCA over the pool, each scaled to unit variance; null: the vectors as they are

    Learners read `plain`, whose encoder they train.
    """

    sets: dict[Annotated[str, Field(pattern=NAME)], EncoderSection] = {}
    use: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = Field(
        default=(PLAIN,), min_length=1
    )
    whiten: Annotated[Int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check_names(self) -> EmbeddingsSection:
        for name in self.sets:
            if name in (PLAIN, USED, PROBE):
                raise ValueError(f"another name of a set than {name}, which is taken")
        names = (PLAIN, *self.sets)
        for name in self.use if self.use != (PROBE,) else ():
            if name not in names:
                raise UnknownName("embeddings.use", name, (*names, PROBE))
        if len(set(self.use)) < len(self.use):
            raise ValueError("each set once")
        return self


class Stop(_Section):
    """What counts as enough labels (see `stopping.Stopping`); shown in each round, and the loop's end if `enforce`."""

    agreement: Annotated[Number, Field(ge=-1, le=1)] = 0.99
    rounds: Annotated[Int, Field(ge=1)] = 3
    gain: Annotated[Number, Field(ge=0)] = 0.002
    enforce: Bool = False


class CalibrationSection(_Section):
    """How class probabilities are calibrated (see `calibration.CalibrationSettings`); `fit: none`: not at all."""

    fit: Literal["none", "val", "cross"] = "none"
    method: Literal["temperature", "vector", "dirichlet"] = "vector"
    folds: Annotated[Int, Field(ge=2)] = 5
    queries: Bool = False


class Loop(_Section):
    """What to spend in each round; the first is the cold start.

    unit  of the budgets: labels, or what answers cost, where the task counts that (`query.spending`); the cold start's
          budget is always a number of labels
    budgets  1 or more; the first may be 0 where labels are given (`domains.source`): then round 0 trains on those alone
    """

    stop: Stop = Stop()
    budgets: tuple[Annotated[Int, Field(ge=0)], ...] = Field(default=(20, 20, 20, 40), min_length=1)
    unit: str = "labels"


class SegmenterSection(_Section):
    """A promptable segmenter for the page: the ONNX files of SAM's encoder and decoder, or of a network like it."""

    encoder: Annotated[str, BeforeValidator(_from_home)]
    decoder: Annotated[str, BeforeValidator(_from_home)]


class LabelSection(_Section):
    """The page of `hybrid-al label`; segmenter: what draws a mask from a box or points (extra `segmenter`)."""

    segmenter: SegmenterSection | None = None


class Domains(_Section):
    """Whose labels are given where samples have a domain (`data.domain`): those of the pool's source, from round 0.

    The pool of the other domains, the target, is what is asked about. Without a source all domains are asked about, and
    they only part the metrics.
    """

    source: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()


class Report(_Section):
    """The HTML report; it never leaves the machine by itself.

    random_runs  runs with random picks that `hybrid-al run` plays beside a simulated run, on its stage 0
    map          how images are laid out by their embeddings: principal components, or UMAP (extra `umap`)
    """

    images: Bool = True
    map: Literal["pca", "umap"] = "pca"
    random_runs: Annotated[Int, Field(ge=0, le=100)] = 0

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is as it was before these keys is left out, as it is in the recipes that `benchmarks/` noted."""
        return {k: v for k, v in plain(self).items() if (k, v) not in (("random_runs", 0), ("map", "pca"))}


class Arms(_Section):
    """A strategy of a bench: its cold start, and its query in the later rounds."""

    cold_start: ComponentOrName = Component(name="random")
    query: ComponentOrName = Component(name="random")


class Tune(_Section):
    """Settings of the training that each arm of a bench chooses for itself, all arms among the same ones.

    keys     dotted keys of `train`, `learner` or `views.strong` -> their values; all combinations are tried
    seeds    their number (from 100), or the seeds as in 100-102; none of those that are compared
    metric   AUBC of which decides; empty: the first of the bench's metrics, on val
    """

    keys: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]] = {}
    seeds: int | str = 3
    metric: str = ""


class Bench(_Section):
    """A grid of loops with paired seeds: strategies x objectives x seeds, repeated over variants of the recipe.

    strategies   names of STRATEGIES, `A+B` (cold start A, query B), or own names for such pairs (`strategies.mine:
                 {cold_start: ..., query: ...}`); random is always added
    stratified   add class_stratified too, which reads the truth: what class balance alone is worth
    recipe       add the recipe's own cold start and query too, under the name `recipe`, where no strategy is that pair
    linear       add random picks with the learner `linear` too, where the task has it: what training is worth
    objectives   empty: the recipe's own
    seeds        their number (from 0), or the seeds as in `60-79,100`
    encoders     stage 0 is run this many times and shared by the seeds: seed s uses encoder s mod `encoders`
    variants     name -> dotted keys to change; the key `recipe` names another recipe to start from
    metrics      those that are kept of a loop; the first decides
    margin       difference of AUBC that does not matter
    full         also train on the whole pool, for the labels needed to come near it
    share        of the metric of full supervision that counts as near
    tune         settings that each arm chooses on other seeds, by val, before it is compared
    """

    strategies: dict[str, Arms | None] | tuple[str, ...] = ("random",)
    stratified: Bool = True
    recipe: Bool = True
    linear: Bool = True
    objectives: tuple[str, ...] = ()
    seeds: int | str = 20
    encoders: Annotated[Int, Field(ge=1)] = 3
    variants: dict[str, dict[str, Value]] = {}
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("test/auroc", "test/balanced_accuracy", "test/ece")
    margin: Annotated[Number, Field(ge=0)] = 0.005
    full: Bool = True
    share: Annotated[Number, Field(gt=0, le=1)] = 0.95
    tune: Tune = Tune()


class Recipe(_Section):
    """One experiment."""

    name: str = Field(pattern=NAME)
    modality: str = "microscopy"
    views: ViewsSection = ViewsSection()
    task: ComponentOrName = Component(name="classification")
    seed: Annotated[Int, Field(ge=0)] = 0
    data: Data = Data()
    encoder: EncoderSection = EncoderSection()
    embeddings: EmbeddingsSection = EmbeddingsSection()
    pretrain: ComponentOrName = Component(name="simclr")
    learner: ComponentOrName = Component(name="finetune")
    cold_start: ComponentOrName = Component(name="stratified")
    query: ComponentOrName = Component(name="hybrid")
    calibration: CalibrationSection = CalibrationSection()
    train: ComponentOrName = Component(name="mean_teacher")  # chosen on seeds from 100 up: benchmarks/RESULTS.md
    loop: Loop = Loop()
    domains: Domains = Domains()
    oracle: ComponentOrName = Component(name="simulated")
    label: LabelSection = LabelSection()
    track: dict[str, dict[str, Value]] = {"wandb": {}}  # tracker -> its settings; mirrors beside metrics.jsonl
    report: Report = Report()
    bench: Bench = Bench()

    @classmethod
    def default_names(cls) -> dict[str, str]:
        """The default component of each key that takes one."""
        return {k: field.default.name for k, field in cls.model_fields.items() if isinstance(field.default, Component)}

    @model_validator(mode="before")
    @classmethod
    def _name_defaults(cls, values: Any) -> Any:
        """Settings without a name are those of the default: `train: {steps: 300}` as `train.steps=300`."""
        if not isinstance(values, dict):
            return values
        names = cls.default_names()
        return values | {k: {"name": names[k], **v} for k, v in values.items() if k in names and isinstance(v, dict)}

    @model_validator(mode="after")
    def _check_budgets(self) -> Recipe:
        for k, budget in enumerate(self.loop.budgets):
            if budget == 0 and (k > 0 or not self.domains.source):
                given = "; the first may be 0 where domains.source names domains whose labels are given"
                raise InputError(f"loop.budgets.{k}", f"1 or more{given}", "0")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Sections at their defaults are left out, as they are in the recipes that `benchmarks/` noted."""
        values: dict[str, Any] = plain(self)
        if self.embeddings == EmbeddingsSection():
            del values["embeddings"]
        if self.views == ViewsSection():
            del values["views"]
        if self.label == LabelSection():
            del values["label"]
        if self.calibration == CalibrationSection():
            del values["calibration"]
        if self.domains == Domains():
            del values["domains"]
        return values

    def plain(self) -> dict[str, Any]:
        """All values, defaults included, as plain YAML types."""
        return self.model_dump(mode="json")

    def identity(self) -> dict[str, Any]:
        """What two calls must share to go on with one run: not trackers, the page, places of data, or budgets."""
        plain = self.plain()
        unit = {"unit": self.loop.unit} if self.loop.unit != "labels" else {}
        del plain["track"], plain["report"], plain["loop"], plain["bench"]
        plain.pop("label", None)
        plain["data"] = {k: v for k, v in plain["data"].items() if k not in FREE}
        return plain | unit
