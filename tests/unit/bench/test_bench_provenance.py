"""Two versions of the data, the recipe or the code are not mixed in one CSV; words about the code do not count."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hybrid_al.bench import provenance
from hybrid_al.bench.runner import modules_of
from hybrid_al.errors import InputError
from hybrid_al.recipe import Component

FACTS = {"data": "abc", "recipe": {"learner": "frozen"}}


@pytest.mark.parametrize(
    ("spec", "modules"),
    [
        ({"name": "among", "strategy": {"name": "typiclust"}}, {"strategies.among", "strategies.typiclust"}),
        ({"name": "among", "strategy": "kcenter"}, {"strategies.among", "strategies.kcenter"}),
        ({"name": "hybrid"}, {"strategies.hybrid", "batches.spread"}),
        (
            {"name": "hybrid", "batch": {"name": "per_group", "batch": {"name": "dpp"}}},
            {"strategies.hybrid", "batches.nested", "batches.spread"},
        ),
    ],
)
def test_what_a_strategy_names_is_code_of_an_arm_too(spec: dict[str, object], modules: set[str]) -> None:
    names = modules_of(Component.model_validate(spec))
    assert set(names) == {f"hybrid_al.query.{name}" for name in modules}


def test_the_first_cells_note_what_they_are_made_from(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {"random": {"code": "1"}}, [])
    assert json.loads(path.read_text()) == {"facts": FACTS, "arms": {"random": {"code": "1"}}, "encoders": {}}
    provenance.claim(path, FACTS, {"random": {"code": "1"}}, ["random"])


@pytest.mark.parametrize(
    ("facts", "code", "message"), [({**FACTS, "data": "other"}, "1", "one data"), (FACTS, "2", "random: .*one code")]
)
def test_another_version_is_refused_and_changes_nothing(
    tmp_path: Path, facts: dict[str, object], code: str, message: str
) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {"random": {"code": "1"}}, [])
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        provenance.claim(path, facts, {"random": {"code": code}}, ["random"])
    assert path.read_bytes() == before


def test_arms_of_another_version_are_told_and_vouched_for(tmp_path: Path) -> None:
    path, facts = tmp_path / "x.json", {**FACTS, "stage 0 code": "a"}
    provenance.claim(path, facts, {"random": {"code": "1"}, "badge": {"code": "1"}}, [])
    arms = {"random": {"code": "1"}, "badge": {"code": "2"}}
    assert provenance.outdated(path, facts, arms) == ["badge"]
    assert provenance.outdated(path, {**facts, "stage 0 code": "b"}, arms) == ["random", "badge"]
    with pytest.raises(InputError, match="one data"):
        provenance.outdated(path, {**facts, "data": "other"}, arms)
    with pytest.raises(InputError, match=r"badge: .*one objective"):
        provenance.outdated(path, facts, {"badge": {"code": "1", "objective": "other"}})
    provenance.vouch(path, {"stage 0 code": "a"}, arms, {"badge": 3})
    assert provenance.outdated(path, facts, arms) == []
    provenance.claim(path, facts, arms, ["random", "badge"])
    noted = json.loads(path.read_text())["rechecked"]
    assert noted == [{"arm": "badge", "seed": 3, "stage 0 code": "a", "code": "1"}]


@pytest.mark.parametrize(("code", "left"), [("2", ["badge"]), ("1", ["random", "badge"])])
def test_an_arm_that_finds_another_result_stays_one_of_another_version(
    tmp_path: Path, code: str, left: list[str]
) -> None:
    """By its own code; where that is the same, by the versions that all cells share."""
    path, now = tmp_path / "x.json", {**FACTS, "stage 0 code": "b"}
    provenance.claim(path, {**FACTS, "stage 0 code": "a"}, {"random": {"code": "1"}, "badge": {"code": "1"}}, [])
    arms = {"random": {"code": "1"}, "badge": {"code": code}}
    provenance.vouch(path, {"stage 0 code": "b"}, arms, {"random": 3})
    assert provenance.outdated(path, now, arms) == left


def test_without_cells_of_it_another_version_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {"random": {"code": "1"}, "badge": {"code": "1"}}, [])
    provenance.claim(path, FACTS, {"badge": {"code": "2"}}, ["random"])
    assert json.loads(path.read_text())["arms"] == {"random": {"code": "1"}, "badge": {"code": "2"}}


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {}, [])
    provenance.claim_encoder(path, 10, {"digest": "a", "test/knn_auroc": 0.5})
    provenance.claim_encoder(path, 2, {"digest": "b"})
    provenance.claim_encoder(path, 10, {"digest": "a", "test/knn_auroc": 0.5})
    assert [encoder["digest"] for encoder in provenance.encoders(path)] == ["b", "a"]
    with pytest.raises(InputError, match="one encoder"):
        provenance.claim_encoder(path, 2, {"digest": "c"})
    provenance.claim(path, FACTS, {}, ["random"])
    assert len(provenance.encoders(path)) == 2
    provenance.claim(path, FACTS, {}, [])
    assert not provenance.encoders(path)


def test_tables_need_the_same_recipe_only(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {}, [])
    provenance.check(path, {"recipe": {"learner": "frozen"}})
    with pytest.raises(InputError, match="one recipe"):
        provenance.check(path, {"recipe": {"learner": "finetune"}})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in package: loop imports rule, another imports nothing of it."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in {
        "__init__": "from . import other\n",
        "loop": '"""Words."""\nfrom .rule import pick\n\n\ndef run() -> int:\n    """Words."""\n    return pick()\n',
        "rule": "class Rule:\n    about: str = 'a paper'\n\n\ndef pick() -> int:\n    return 1\n",
        "other": "x = 1\n",
    }.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(provenance, "PACKAGES", ("toy",))
    return folder


def digest() -> str:
    provenance._module.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "toy"]:
        del sys.modules[name]
    return provenance.code_digest(["toy.loop"])


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("rule", "return 1", "return 2", True),
        ("loop", "return pick()", "return pick() + 1", True),
        ("loop", '"""Words."""', '"""Other words."""', False),
        ("rule", "return 1", "return 1  # a comment", False),
        ("rule", "about: str = 'a paper'", "about: str = 'another paper'", False),
        ("rule", "about: str = 'a paper'", "after: str = 'a paper'", True),
        ("other", "x = 1", "x = 2", False),
    ],
)
def test_code_that_runs_counts(package: Path, name: str, old: str, new: str, changes: bool) -> None:
    before = digest()
    file = package / f"{name}.py"
    file.write_text(file.read_text().replace(old, new))
    assert (digest() != before) == changes
    provenance._module.cache_clear()


def test_where_a_definition_stands_does_not_count(package: Path) -> None:
    before = digest()
    rule = (package / "rule.py").read_text()
    (package / "moved.py").write_text(rule)
    (package / "rule.py").unlink()
    (package / "loop.py").write_text((package / "loop.py").read_text().replace("rule", "moved"))
    assert digest() == before
    provenance._module.cache_clear()


def test_the_loop_depends_on_the_learner_and_not_on_the_report() -> None:
    names: set[str] = set()
    waiting = [*provenance.LOOP, "hybrid_al.learners.frozen"]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += provenance._module(name)[1]
    assert {
        "hybrid_al.train",
        "hybrid_al.query.base",
        "hybrid_al.core.consistency",
        "hybrid_al.data.views.modalities",
    } <= names
    assert not [n for n in names if n.startswith(("hybrid_al.track", "hybrid_al.cli", "hybrid_al.bench"))]


def test_other_classes_are_refused_and_early_files_have_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    provenance.claim(path, FACTS, {}, [])
    provenance.claim(path, {**FACTS, "classes": ["a", "b"]}, {}, ["random"])
    with pytest.raises(InputError, match=r'one classes .* finished ones with \["a", "b"\], now \["b", "a"\]'):
        provenance.claim(path, {**FACTS, "classes": ["b", "a"]}, {}, ["random"])
