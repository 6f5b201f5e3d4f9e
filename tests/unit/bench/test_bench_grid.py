"""The grid of a bench: names, pairs, seeds, variants, and what each cell's recipe is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_al.bench.compared import LINEAR
from hybrid_al.bench.grid import Grid, load_grid, parse_pair, parse_seeds
from hybrid_al.bench.results import FULL, Arm
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.recipe import load_variants

RECIPE = """
name: small
learner: frozen
train: {name: mean_teacher, weight: 2.0, steps: 30}
loop: {budgets: [4, 4]}
bench:
  recipe: false
  seeds: 3
  encoders: 2
  strategies:
    random:
    far: {query: {name: kcenter, metric: cosine}}
    typiclust+entropy:
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def grid_of(recipe: Path, *overrides: str, **changes: object) -> Grid:
    return load_grid(recipe, overrides, **changes)  # type: ignore[arg-type]


def test_baselines_come_first_and_cells_go_seed_by_seed(recipe: Path) -> None:
    grid = grid_of(recipe)
    assert list(grid.strategies) == ["random", "class_stratified", "far", "typiclust+entropy"]
    cells = grid.cells("small")
    assert len(cells) == 3 * (1 + 4 + 1)
    assert cells[0] == (LINEAR, 0)
    assert [seed for _, seed in cells] == sorted(seed for _, seed in cells)
    assert Arm(FULL, "mean_teacher", "frozen") in {arm for arm, _ in cells}


def test_the_chain_of_the_recipe_is_an_arm_and_arms_that_nobody_asked_for_are_named(recipe: Path) -> None:
    grid = grid_of(
        recipe, "bench.recipe=true", "bench.variants={small: {}, other: {query: margin}}", strategies=["far"]
    )
    assert list(grid.strategies) == ["random", "class_stratified", "far", "recipe"]
    arm = Arm("recipe", "mean_teacher", "frozen")
    chains = [(r.cold_start.name, r.query.name) for r in (grid.recipe(v, (arm, 0), 99) for v in grid.variants)]
    assert chains == [("stratified", "hybrid"), ("stratified", "margin")]
    assert grid.added == (
        "random, class_stratified (bench.stratified), recipe = stratified+hybrid (bench.recipe), "
        "random / linear (bench.linear), full (bench.full)"
    )
    assert "recipe" not in grid_of(recipe, "bench.recipe=true", strategies=["stratified+hybrid"]).strategies


def test_where_there_is_a_target_its_metric_decides_unless_one_is_named(recipe: Path) -> None:
    usual = grid_of(recipe).bench.metrics
    assert grid_of(recipe, "domains.source=a").bench.metrics == (*(f"target/{name}" for name in usual), *usual)
    mixed = "bench.variants={one: {}, two: {domains.source: a}}"
    assert grid_of(recipe, mixed).bench.metrics == usual
    assert grid_of(recipe, "domains.source=a", "bench.metrics=[test/auroc]").bench.metrics == ("test/auroc",)


@pytest.mark.parametrize(
    ("text", "start", "query"),
    [
        ("random", "random", "random"),
        ("typiclust", "typiclust", "typiclust"),
        ("entropy", "random", "entropy"),
        ("hybrid", "random", "hybrid"),
        ("kmeans+margin", "kmeans", "margin"),
        ("class_stratified", "class_stratified", "class_stratified"),
        ("class_stratified+entropy", "class_stratified", "entropy"),
    ],
)
def test_a_pair_is_a_cold_start_and_a_query(text: str, start: str, query: str) -> None:
    pair = parse_pair(text)
    assert (pair.cold_start.name, pair.query.name) == (start, query)


def test_strategies_of_the_command_line_may_be_those_that_the_recipe_names(recipe: Path) -> None:
    grid = grid_of(recipe, strategies=["far", "badge"])
    assert list(grid.strategies) == ["random", "class_stratified", "far", "badge"]
    assert grid.strategies["far"].query.params == {"metric": "cosine"}


def test_an_unknown_strategy_names_the_nearest(recipe: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'margin'"):
        grid_of(recipe, strategies=["random", "typiclust+margn"])
    with pytest.raises(UnknownName, match="did you mean 'fixmatch'"):
        grid_of(recipe, objectives=["fixmach"])


@pytest.mark.parametrize(
    "strategies", [["entropy", "entropy"], ["entropy", "random+entropy"], ["far", "random+kcenter", "far"]]
)
def test_a_strategy_given_twice_is_an_error(recipe: Path, strategies: list[str]) -> None:
    with pytest.raises(InputError, match=r"once|same"):
        grid_of(recipe, strategies=strategies)


@pytest.mark.parametrize(
    "line", ["a: {train: supervised}", "a: {train: {name: fixmatch}}", "a: {train.name: supervised}"]
)
def test_an_objective_of_a_variant_that_the_grid_would_replace_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(RECIPE + f"\n  variants:\n    {line}\n")
    with pytest.raises(InputError, match=r"variant a: train: expected an objective of the grid \(mean_teacher\)"):
        load_grid(path)
    assert load_grid(path, objectives=["mean_teacher", "supervised", "fixmatch"]).variants["a"]


def test_full_is_not_a_strategy(recipe: Path) -> None:
    with pytest.raises(UnknownName):
        grid_of(recipe, strategies=[FULL])
    with pytest.raises(InputError, match="another name"):
        grid_of(recipe, "bench.strategies={full: {query: entropy}}")


@pytest.mark.parametrize(
    ("spec", "seeds"), [(3, (0, 1, 2)), ("2", (0, 1)), ("60-62,100", (60, 61, 62, 100)), ("7,5", (7, 5))]
)
def test_seeds(spec: int | str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(spec) == seeds


TOO_MANY = (10**9, "1-999999999", "0-999,1000", "9" * 5000)


@pytest.mark.parametrize("spec", [0, "0", "", "1,,2", "a", "5-3", "3-", "-3", "²", *TOO_MANY])
def test_seeds_that_say_nothing(spec: int | str) -> None:
    with pytest.raises(InputError, match="bench: seeds"):
        parse_seeds(spec)


def test_seeds_given_twice(recipe: Path) -> None:
    with pytest.raises(InputError, match="5 twice"):
        grid_of(recipe, seeds="3-6,5")


def test_the_recipe_of_a_cell(recipe: Path) -> None:
    grid = grid_of(recipe, objectives=["mean_teacher", "supervised"])
    cell = grid.recipe("small", (Arm("far", "mean_teacher", "frozen"), 7), pool=100)
    assert (cell.seed, cell.query.name, cell.loop.budgets) == (7, "kcenter", (4, 4))
    assert cell.train.params == {"weight": 2.0, "steps": 30}
    other = grid.recipe("small", (Arm("far", "supervised", "frozen"), 7), pool=100)
    assert (other.train.name, other.train.params) == ("supervised", {"steps": 30})
    full = grid.recipe("small", (Arm(FULL, "supervised", "frozen"), 7), pool=100)
    assert full.loop.budgets == (100,)


def test_who_reads_the_truth(recipe: Path) -> None:
    grid = grid_of(recipe, strategies=["class_stratified+entropy"])
    mixed = Arm("class_stratified+entropy", "supervised", "frozen")
    assert grid.cheats(mixed) == (True, False)
    assert grid.cheats(Arm("class_stratified", "supervised", "frozen")) == (True, True)
    assert grid.cheats(Arm("random", "supervised", "frozen")) == (False, False)
    assert grid.recipe("small", (mixed, 0), pool=9).cold_start.name == "random"


def test_seeds_share_encoders_and_tuning_seeds_have_their_own(recipe: Path) -> None:
    grid = grid_of(recipe)
    assert [grid.encoder("small", s) for s in (0, 1, 2, 61, 100, 103)] == [0, 1, 0, 1, 100, 101]


def test_weights_that_nothing_trains_are_one_encoder(recipe: Path) -> None:
    grid = grid_of(recipe, "pretrain=none", "encoder.weights=pretrained")
    assert {grid.encoder("small", s) for s in range(5)} == {0}
    scratch = grid_of(recipe, "pretrain=none")
    assert {scratch.encoder("small", s) for s in range(5)} == {0, 1}


def test_variants_start_from_a_recipe_and_overrides_come_last(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(
        RECIPE
        + """
  variants:
    xray: {recipe: chest_xray, data.root: somewhere.npz, loop.budgets: [9]}
    own: {data.image_size: 16}
"""
    )
    recipes = load_variants(path, ["data.on_leak=error"])
    assert (recipes["xray"].modality, recipes["own"].modality) == ("chest_xray", "microscopy")
    assert recipes["xray"].data.params["root"] == "somewhere.npz"
    assert (recipes["xray"].loop.budgets, recipes["own"].loop.budgets) == ((9,), (4, 4))
    assert recipes["xray"].learner.name == "frozen"  # the bench's own key, not chest_xray's finetune
    assert {r.data.on_leak for r in recipes.values()} == {"error"}


@pytest.mark.parametrize("line", ["'a/b': {data.image_size: 16}", "a: {lerner: frozen}", "a: {recipe: chest_ray}"])
def test_a_wrong_variant(tmp_path: Path, line: str) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(RECIPE + f"\n  variants:\n    {line}\n")
    with pytest.raises(InputError):
        load_grid(path)


def test_the_arm_that_reads_the_truth_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\nbench: {stratified: false, recipe: false, strategies: [entropy]}\n")
    assert list(load_grid(file).strategies) == ["random", "entropy"]


def test_one_arm_a_variant_is_the_linear_baseline(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(
        RECIPE
        + """
  variants:
    plain: {}
    strange: {train: {name: mean_teacher, members: 3, balanced: false, weight: 2.0}, learner.strong_views: 2}
    finetune: {learner: finetune}
    linear: {learner: {name: linear, strength: 0.1}}
"""
    )
    grid = load_grid(path, objectives=["mean_teacher", "supervised"])
    assert {v for v in grid.variants if LINEAR in grid.arms(v)[:1]} == {"plain", "strange", "finetune"}
    assert [grid.arms(v).count(LINEAR) for v in grid.variants] == [1, 1, 1, 1]  # the last one's own random arm
    baseline, own = grid.recipe("plain", (LINEAR, 7), pool=9), grid.recipe("linear", (LINEAR, 7), pool=9)
    assert (baseline.learner.name, baseline.learner.params, baseline.seed) == ("linear", {}, 7)
    assert (own.learner.params, own.train.params) == ({"strength": 0.1}, {"steps": 30})
    assert (baseline.cold_start.name, baseline.query.name, baseline.train.name) == ("random", "random", "supervised")
    assert grid.recipe("strange", (LINEAR, 0), pool=9).train.params == {"balanced": False}
    arm = Arm("random", "supervised", "frozen")
    assert grid.recipe("strange", (arm, 0), pool=9).learner.params == {"strong_views": 2}
    assert grid.label("plain", LINEAR) == "random / supervised / linear"
    assert grid.label("plain", arm) == grid.label("linear", LINEAR) == "random / supervised"


def test_the_linear_baseline_can_be_left_out_and_is_not_for_masks(tmp_path: Path, recipe: Path) -> None:
    assert not grid_of(recipe, "bench.linear=false").linear
    masks = tmp_path / "masks.yaml"
    masks.write_text("name: m\ntask: segmentation\nbench: {strategies: [entropy], metrics: [test/dice]}\n")
    assert not load_grid(masks).linear


def test_the_study_of_objectives_has_the_linear_baseline_in_every_variant() -> None:
    grid = load_grid(Path(__file__).parents[3] / "benchmarks" / "objectives.yaml")
    assert len(grid.linear) == len(grid.variants) == 3
    for variant, recipe in grid.variants.items():
        assert (recipe.learner.name, len(grid.seeds), len(grid.arms(variant))) == ("frozen", 10, 12)
        assert {arm.strategy for arm in grid.arms(variant)} == {"random"}
