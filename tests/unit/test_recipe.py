"""Recipes: overrides, defaults, and one clear line for every kind of mistake."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_al.assemble import open_project
from hybrid_al.core.files import write_json
from hybrid_al.core.types import Round
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.recipe import load, parse, shipped_recipes
from hybrid_al.recipe.plain import outside
from hybrid_al.recipe.reading import load_variants
from hybrid_al.report.overview import first_notes, summary
from hybrid_al.stage0 import start
from pretrain import stage0
from tests.helpers.tiny import recipe_of


def test_every_shipped_recipe_is_valid_and_says_its_command() -> None:
    assert {"quickstart", "chest_xray", "blood_smear", "dermoscopy"} <= set(shipped_recipes())
    for name, text in shipped_recipes().items():
        recipe = load(name)
        assert recipe.name.replace("-", "_") == name
        verb = "bench" if recipe.bench.strategies != ("random",) else "run"
        assert f"hybrid-al {verb} recipes/{name}.yaml" in text or f"hybrid-al {verb} {name}" in text
        stage0.check(recipe)


def test_overrides_are_yaml_and_reach_into_short_forms(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: x\nquery: entropy\ntrain: {name: fixmatch, steps: 10}\n")
    recipe = load(file, ["loop.budgets=[5, 5]", "train.steps=20", "query.extra=1", "seed=3", "learner=frozen"])
    assert recipe.loop.budgets == (5, 5)
    assert recipe.train.params == {"steps": 20}
    assert recipe.query.name == "entropy" and recipe.query.params == {"extra": 1}
    assert recipe.seed == 3 and recipe.learner.name == "frozen"


def test_a_resolved_recipe_is_the_same_recipe() -> None:
    recipe = load("cells", ["seed=5"])
    assert parse(yaml.safe_load(yaml.safe_dump(recipe.plain()))) == recipe


def test_identity_ignores_trackers_the_place_of_the_data_and_the_length_of_the_run() -> None:
    one = parse({"name": "x", "data": {"source": "npz", "root": "/a", "group": "none"}})
    two = parse(
        {
            "name": "x",
            "data": {"source": "npz", "root": "/b", "group": "none"},
            "track": {"wandb": {"mode": "off"}},
            "loop": {"budgets": [1]},
        }
    )
    assert one.identity() == two.identity()
    assert one.identity() != parse({"name": "x", "seed": 1}).identity()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sed=1"], r"top level: expected one of .*'sed'; did you mean 'seed'"),
        (["loop.budget=[1]"], r"loop: expected one of budgets, stop, unit, got 'budget'; did you mean 'budgets'"),
        (["loop.budgets=[]"], r"loop\.budgets: expected"),
        (
            ["loop.budgets=[0, 5]"],
            r"loop\.budgets\.0: expected 1 or more; the first may be 0 where domains",
        ),
        (["loop.budgets=[0, 0]", "domains.source=a"], r"loop\.budgets\.1: expected 1 or more"),
        (["seed=one"], r"seed: expected a whole number of 0 or more, got 'one'"),
        (["loop.budgets=[true]"], r"loop\.budgets\.0: expected a whole number of 0 or more, got True"),
        (["loop.budgets=['4']"], r"loop\.budgets\.0: expected a whole number of 0 or more, got '4'"),
        (["loop.stop.enforce='yes'"], r"loop\.stop\.enforce: expected true or false, got 'yes'"),
        (["name=2024"], r"name: expected text \(in quotes\), got 2024"),
        (["name='a b'"], r"name: expected letters, digits, .* got 'a b'"),
        (["query={name: }"], r"query\.name: expected text, got None"),
        (["query=3"], r"query: expected a name, or a mapping with a name, got 3"),
        (["encoder=3"], r"encoder: expected a mapping of keys, got 3"),
        (["data.on_leak=stop"], r"data\.on_leak: expected one of warn, error, got 'stop'"),
        (["bench.strategies={a: {cold: x}}"], r"bench\.strategies\.a: expected one of cold_start, query, got 'cold'"),
        (["embeddings={use: [plain, plain]}"], r"embeddings: expected each set once"),
        (["data.image_size=2"], r"image_size"),
        (["seed"], r"override 'seed': expected key\.path=value"),
        (["track.wandb=3", "track.wandb.mode=off"], r"keys below wandb"),
        (["loop.budgets=[1"], r"expected YAML"),
    ],
)
def test_mistakes_in_a_recipe_get_one_clear_line(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load("cells", overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["query.name=entrpy"], r"query\.name: expected .*did you mean 'entropy'"),
        (["cold_start=typicalclust"], r"did you mean 'typiclust'"),
        (["cold_start=entropy"], r"cold_start: expected a strategy that needs embeddings alone"),
        (["query={name: hybrid, score: {entrop: 1.0}}"], r"did you mean 'entropy'"),
        (
            ["query={name: hybrid, score: {entropy: -1}}"],
            r"query\.score\.entropy: expected a number of 0 or more, got -1",
        ),
        (["query={name: hybrid, score: {entropy: 0}}"], r"query\.score: expected one weight above 0 at least"),
        (["query={name: hybrid, batch: {name: kmean}}"], r"query\.batch\.name: .*did you mean 'kmeans'"),
        (["query={name: hybrid, batch: {name: kmeans, shortlst: 3}}"], r"query\.batch \(kmeans\): .*'shortlist'"),
        (["query={name: hybrid, batch: {name: dpp, gamma: .nan}}"], r"query\.batch\.gamma: expected a finite number"),
        (
            ["query={name: hybrid, batch: {name: per_group, batch: {name: dpp, metric: l1}}}"],
            r"query\.batch\.batch\.metric: expected one of cosine, l2",
        ),
        (
            ["query={name: among, strategy: {name: hybrid, batch: {name: power, beta: 0}}}"],
            r"query\.strategy\.batch\.beta: expected a number above 0, got 0",
        ),
        (["train.steps=1000000000000"], r"train\.steps: expected at most 1000000000, got 1000000000000"),
        (["train.cycles=201"], r"train\.cycles: expected a step each at least"),
        (["train.record={decay: 1.5}"], r"train\.record\.decay: expected a number of 0 to 1, got 1\.5"),
        (["query={name: hybrid, shortlist: 5}"], r"query \(hybrid\): expected one of batch, fusion, score"),
        (["train.name=fixmach"], r"did you mean 'fixmatch'"),
        (["train.wieght=0.9"], r"train \(mean_teacher\): .*did you mean 'weight'"),
        (["train.weight=high"], r"train\.weight: .*number.*'high'"),
        (["learner=frosen"], r"did you mean 'frozen'"),
        (
            ["learner={name: frozen, strong_views: 0}"],
            r"learner\.strong_views: expected a whole number of 1 to 1000, got 0",
        ),
        (["oracle=human"], r"oracle\.name: expected one of label_studio, simulated, worklist"),
        (["data.source=dicoms"], r"data\.source: expected one of"),
        (["track={nope: {}}"], r"track\.nope: expected one of mlflow, tensorboard, wandb, got 'nope'"),
        (["data={source: npz}"], r"data\.root: expected a path, got nothing"),
        (["data.sizes=3"], r"data \(phantom\): expected one of"),
        (["modality=xray"], r"modality: expected one of .*did you mean 'chest_xray'"),
        (["query=nowhere.at_all:Mine"], r"an importable package\.module:name"),
    ],
)
def test_unknown_components_are_named_before_any_data_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_project(load("cells", overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrain=simclar"], r"did you mean 'simclr'"),
        (["pretrain.epoch=3"], r"did you mean 'epochs'"),
        (["pretrain=none", "pretrain.epochs=3"], r"pretrain \(none\)"),
    ],
)
def test_unknown_pretraining_is_named(overrides: list[str], message: str) -> None:
    recipe = load("cells", overrides if "none" not in overrides[0] else ["pretrain={name: none, epochs: 3}"])
    with pytest.raises(UnknownName, match=message):
        stage0.check(recipe)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "gone.yaml")
    with pytest.raises(UnknownName, match="did you mean 'quickstart'"):
        load("quikstart")


def test_an_empty_recipe_and_one_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("")
    with pytest.raises(InputError, match="a mapping of keys, got NoneType"):
        load(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load(file)


def test_options_of_an_encoder_make_another_run_and_their_absence_leaves_old_runs_as_they_are() -> None:
    assert "options" not in parse({"name": "x"}).plain()["encoder"]
    options = {"patch_size": 4, "global_pool": "avg", "qkv_bias": False}
    other = parse({"name": "x", "encoder": {"options": options}})
    assert other.plain()["encoder"]["options"] == options
    assert other.identity() != parse({"name": "x"}).identity()
    assert parse(other.plain()) == other


def test_calibration_and_stopping_change_no_run_that_does_not_ask_for_them() -> None:
    plain = parse({"name": "x"})
    assert "calibration" not in plain.identity() and "calibration" not in plain.plain()
    calibrating = parse({"name": "x", "calibration": {"fit": "cross", "method": "dirichlet", "queries": True}})
    assert calibrating.identity()["calibration"] == {"fit": "cross", "method": "dirichlet", "folds": 5, "queries": True}
    stopping = parse({"name": "x", "loop": {"stop": {"enforce": True, "gain": 0.01}}})
    assert stopping.identity() == plain.identity()  # as with the budgets: how far a run goes
    for bad in ({"calibration": {"fit": "test"}}, {"calibration": {"folds": 1}}, {"loop": {"stop": {"rounds": 0}}}):
        with pytest.raises(InputError):
            parse({"name": "x", **bad})


def test_random_runs_beside_a_run_leave_it_as_it_is() -> None:
    plain, beside = parse({"name": "x"}), parse({"name": "x", "report": {"random_runs": 3}})
    assert parse({"name": "x", "report": {"map": "umap"}}).plain()["report"] == {"images": True, "map": "umap"}
    assert plain.plain()["report"] == {"images": True} and beside.plain()["report"]["random_runs"] == 3
    assert beside.identity() == plain.identity() and parse(beside.plain()) == beside


def test_a_stack_of_slices_makes_another_run() -> None:
    plain, three = (parse({"name": "x", "data": {"source": "nifti", **s}}) for s in ({}, {"stack": 3}))
    assert three.identity() != plain.identity() and three.identity()["data"]["stack"] == 3
    assert parse(three.plain()) == three


def test_settings_without_a_name_are_those_of_the_default() -> None:
    written = parse({"name": "x", "train": {"steps": 30}, "pretrain": {"epochs": 2}, "query": {}})
    assert written == load({"name": "x"}, ["train.steps=30", "pretrain.epochs=2"])
    assert (written.train.name, written.pretrain.name, written.query.name) == ("mean_teacher", "simclr", "hybrid")


def test_settings_without_a_name_stay_with_the_component_that_stood_there(tmp_path: Path) -> None:
    plain = {"name": "x", "train": {"name": "fixmatch", "threshold": 0.9}}
    assert load(plain, ["train={steps: 30}"]).train == load(plain, ["train={name: fixmatch, steps: 30}"]).train
    (tmp_path / "base.yaml").write_text("name: base\ntrain: fixmatch\n", encoding="utf-8")
    bench = (
        "name: x\ntrain: {steps: 30}\nbench: {variants: {a: {recipe: base.yaml}, b: {recipe: base.yaml, query: {}}}}\n"
    )
    (tmp_path / "bench.yaml").write_text(bench.replace("base.yaml", str(tmp_path / "base.yaml")), encoding="utf-8")
    assert {v.train.name for v in load_variants(tmp_path / "bench.yaml").values()} == {"fixmatch"}


def test_a_mapping_is_a_recipe_and_stays_as_it_was() -> None:
    plain: dict[str, object] = {"name": "mine", "query": "hybrid", "loop": {"budgets": [5]}}
    recipe = load(plain, {"query.score": {"entropy": 1.0}, "loop.budgets": (3, 4), "seed": 2})
    assert recipe.query.name == "hybrid" and recipe.query.params == {"score": {"entropy": 1.0}}
    assert recipe.loop.budgets == (3, 4) and recipe.seed == 2
    assert plain == {"name": "mine", "query": "hybrid", "loop": {"budgets": [5]}}
    assert load("cells", {"train.steps": 7}) == load("cells", ["train.steps=7"])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            "{source: csv, root: x, classes: [no, yes]}",
            r'data\.classes: .*in quotes.* "no", "yes".*got False without quotes',
        ),
        ("{source: csv, root: x, labels: [1, 2]}", r"data\.labels: .*in quotes.* got 1 without"),
        ("{source: csv, root: x, unknown: [no]}", r"data\.unknown: .*got False"),
        ("{source: csv, root: x, unknown: [null]}", r"data\.unknown: .*got None"),
    ],
)
def test_names_that_yaml_reads_otherwise_want_quotes(data: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse(yaml.safe_load(f"name: x\ndata: {data}"))


def test_paths_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    data = {"source": "csv", "root": "~/x.csv", "images": "~/i", "unknown": [-1, "NA"]}
    recipe = parse({"name": "x", "data": data, "encoder": {"weights": "~/w.safetensors"}})
    assert recipe.data.params == {"root": "/home/ann/x.csv", "images": "/home/ann/i", "unknown": [-1, "NA"]}
    assert recipe.encoder.weights == "/home/ann/w.safetensors"


def test_costs_are_read_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = recipe_of("classification", oracle={"name": "simulated", "costs": "none.csv"})
    with pytest.raises(
        InputError,
        match=rf"oracle\.costs: {tmp_path}/none\.csv: expected a table .*, got nothing there",
    ):
        open_project(parse(plain), run_dir=tmp_path / "run")


def test_check_says_how_many_images_a_simulated_oracle_can_answer(tmp_path: Path) -> None:
    project = open_project(parse(recipe_of("multilabel")), run_dir=tmp_path / "run")
    dataset = project.dataset
    assert dataset.labels is not None
    assert "  answers of the data (oracle simulated)" in summary(project, start(project))
    dataset.labels[dataset.manifest.indices("pool")[:9], 0] = -1
    (line,) = [line for line in summary(project, start(project)) if "3 of" in line]
    assert (
        line == "  answers of the data (oracle simulated), for 3 of the 12 images of the pool; the others are skipped"
    )


def test_a_run_says_what_check_says_of_the_data_before_its_first_round(tmp_path: Path) -> None:
    project = open_project(parse(recipe_of("segmentation")), run_dir=tmp_path / "run")
    masks = project.dataset.masks
    assert masks is not None
    notes = ("2 copies have another answer than the first",)
    masks = replace(masks, values="0 background, 255 cell")
    noted = replace(project, dataset=replace(project.dataset, notes=notes, masks=masks))
    values = "  values of masks: 0 background"
    lines = first_notes(noted)
    assert lines[0].startswith(values) and lines[-1] == "  note: 2 copies have another answer than the first"
    assert set(lines) <= set(summary(noted, start(noted)))
    write_json(tmp_path / "run" / "rounds" / "000" / "round.json", asdict(Round(0, "random", 1, (), 0, {}, 0, {})))
    assert first_notes(noted) == []


def test_a_power_of_ten_without_a_point_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: a\ntrain: {name: mean_teacher, lr_head: 1e-3, lr_encoder: 5E-05}\n")
    train = load(file, ["train.weight_decay=1e-05"]).train.params
    assert train == {"lr_head": 0.001, "lr_encoder": 0.00005, "weight_decay": 0.00001}


BOMB = ["a: &a [x, x]"] + [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghij")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: &a [*a]", "an alias within itself"),
        ("\n".join(BOMB), "aliases of aliases"),
        ("name: " + "[" * 60 + "]" * 60, "at most 40 levels"),
        ("name: " + "[" * 5000, "RecursionError"),
        ("name: 2026-13-45", "month must be in 1..12"),
        ("seed: " + "9" * 5000, "integer string conversion"),
        ("name: x\n" + "# long\n" * 200_000, "YAML of at most 1048576 characters"),
        ('name: x\ndata: {root: "a\\0b"}', "one with a zero byte"),
        ("name: x\ndata: {root: " + "a" * 5000 + "}", "at most 4096 characters"),
        ("name: x\nloop: {stop: {gain: .inf}}", "loop.stop.gain: expected a"),
    ],
)
def test_recipes_beyond_the_limits_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(words)) as error:
        load(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1200


def test_names_that_no_file_can_have_are_one_line() -> None:
    for name in ("a\0b", "x" * 300 + "/r.yaml", "x" * 5000):
        with pytest.raises(InputError):
            load(name)


def test_code_from_outside_that_a_recipe_names_is_listed() -> None:
    recipe = {
        "query": "mine.of:Query",
        "track": {"their.own:Tracker": {}},
        "data": {"root": "C:data", "source": "a.b:S"},
    }
    assert outside(recipe) == ["a.b:S", "mine.of:Query", "their.own:Tracker"]
    assert outside({"data": {"root": "package:pneumonia.npz"}, "query": {"score": ["entropy", "m:Term"]}}) == ["m:Term"]


MANY = {"name": "mean_teacher", "members": 1000, "cycles": 1000, "steps": 1000, "min_steps": 1000}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learner": "finetune", "train": MANY}, r"of memory of this machine, got a need of about \d+ GiB"),
        ({"train": {**MANY, "members": 1, "cycles": 1, "steps": 10**9}}, r"at most \d+ minutes, got one of about \d+"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused_with_the_need(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    project = open_project(parse(recipe_of("classification", **changes)), run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=words):
        summary(project, start(project))
