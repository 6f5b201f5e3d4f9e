"""Training: determinism, golden losses, loaders, the consistency that is written down, and bad input."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import fields
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rng import derive, derive_seed
from hybrid_al.core.types import Annotation
from hybrid_al.data.loaders import EmbeddingInputs, labeled_batches, unlabeled_batches
from hybrid_al.errors import InputError, NonFiniteLoss
from hybrid_al.learners.network import NetworkLearner
from hybrid_al.models.classifier import Classifier, Dropout, Standardize
from hybrid_al.scores.recorder import ConsistencyRecorder
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi import evidence as recording
from hybrid_al.semi.base import Evidence, Labeled, LogitEvidence, Models, Objective, Step, Unlabeled
from hybrid_al.semi.dense import DENSE_OBJECTIVES
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.train import Schedule, Sets, fit

N, DIM, CLASSES = 60, 6, 3
TRUTH = np.arange(N) % CLASSES
SCHEDULE = Schedule(steps=30, min_steps=30, batch=8, ratio=2, lr_head=0.05)


def inputs() -> EmbeddingInputs:
    """Three clusters in which weak views are close and strong views far."""
    rng = np.random.default_rng(0)
    plain = (np.eye(CLASSES, DIM)[TRUTH] * 4 + rng.normal(size=(N, DIM))).astype(np.float32)
    weak, strong = (plain + scale * rng.normal(size=(3, N, DIM)) for scale in (0.1, 1.0))
    return EmbeddingInputs(plain, weak.astype(np.float16), strong.astype(np.float16), torch.device("cpu"))


def learner(objective: str = "fixmatch", **settings: object) -> NetworkLearner:
    def make(seed: int) -> Classifier:
        return Classifier(Standardize(torch.zeros(DIM), torch.ones(DIM)), DIM, CLASSES, dropout=0.2, seed=seed)

    schedule = Schedule(**{**SCHEDULE.__dict__, **settings})
    return NetworkLearner(make, inputs(), OBJECTIVES[objective](), schedule, pool=np.arange(50), n=N)


def labels(rows: list[int]) -> LabelStore:
    return LabelStore(N).add(Annotation(i, "class", int(TRUTH[i]), "t", 0) for i in rows)


def sets(labeled: int) -> Sets:
    return Sets(np.arange(labeled), TRUTH[:labeled], np.arange(labeled, 54), N)


def no_log(values: object, step: int) -> None: ...


def probs(of: NetworkLearner, **passes: int) -> np.ndarray:
    return np.concatenate([b.probs for b in of.predict(np.arange(N), **passes)])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_fit_depends_on_its_seed_alone_and_survives_the_disk(
    objective: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, two, other = learner(objective), learner(objective), learner(objective)
    torch.manual_seed(1)
    first = one.fit(labels([0, 1, 2, 3]), round=0, seed=5, log=no_log)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = two.fit(labels([0, 1, 2, 3]), round=0, seed=5, log=no_log)
    other.fit(labels([0, 1, 2, 3]), round=1, seed=5, log=no_log)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(probs(one), probs(two)) and not np.array_equal(probs(one), probs(other))
    assert first.consistency is not None and second.consistency is not None
    assert np.array_equal(first.consistency.divergence, second.consistency.divergence)
    one.fit(labels([0, 1, 2, 3]), round=0, seed=5, log=no_log)  # a fit leaves nothing behind for the next
    assert np.array_equal(probs(one), probs(two))

    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    one.save(file)
    fresh = learner(objective)
    fresh.load(file)
    assert np.array_equal(probs(fresh), probs(one))


def test_semi_supervised_training_beats_chance_from_one_label_a_class() -> None:
    model = learner("fixmatch", steps=100, min_steps=100)
    model.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    assert (probs(model)[:, 0].argmax(axis=1) == TRUTH).mean() > 0.9


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_unlabeled_pool_row_has_two_visits_and_no_other_row_has_any(objective: str) -> None:
    store = labels([0, 1, 2, 3])
    consistency = learner(objective).fit(store, round=0, seed=0, log=no_log).consistency
    assert consistency is not None
    unlabeled = np.setdiff1d(np.arange(50), store.labeled)
    assert (consistency.seen[unlabeled] >= 2).all()
    assert (np.delete(consistency.seen, unlabeled) == 0).all()
    assert set(consistency.pseudo_label[unlabeled].tolist()) <= set(range(CLASSES))


def test_predictions_are_probabilities_with_one_plane_a_pass() -> None:
    model = learner()
    model.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    plain, passes, views = probs(model), probs(model, samples=4), probs(model, views=3)
    assert plain.shape == (N, 1, CLASSES) and passes.shape == (N, 4, CLASSES) and views.shape == (N, 3, CLASSES)
    for p in (plain, passes, views):
        assert np.allclose(p.sum(axis=2), 1, atol=1e-5)
    assert passes.std(axis=1).max() > 0.01 and np.array_equal(passes, probs(model, samples=4))
    batch = next(model.predict(np.asarray([7, 3])))
    assert batch.indices.tolist() == [7, 3] and batch.features is not None and batch.head is not None
    weight, bias = batch.head
    logits = batch.features @ weight.T + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(batch.probs[:, 0], expected, atol=1e-5)


def test_passes_with_dropout_scatter_around_the_plain_one_and_do_not_depend_on_the_other_images() -> None:
    model = learner()
    model.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    many, rows = np.log(probs(model, samples=4000)), np.asarray([41, 7])
    logits, plain = many - many[:, :, :1], np.log(probs(model))
    error = np.abs(logits.mean(axis=1) - (plain - plain[:, :, :1])[:, 0])
    assert (error < 5 * logits.std(axis=1) / math.sqrt(4000) + 1e-4).all()
    alone = np.concatenate([b.probs for b in model.predict(rows, samples=4)])
    np.testing.assert_allclose(alone, probs(model, samples=4)[rows], rtol=1e-4)
    assert len(np.unique(alone[0].round(6), axis=0)) > 1


FIRST_FIVE = {
    "supervised": [1.3965, 1.1265, 0.83961, 0.55654, 0.30643],
    "pseudo_label": [1.3965, 1.1309, 0.86275, 0.58221, 0.68801],
    "pi_model": [1.3968, 1.1136, 0.83824, 0.551, 0.3023],
    "mean_teacher": [1.3983, 1.1116, 0.8416, 0.56338, 0.31056],
    "mixmatch": [1.3979, 1.1169, 1.0344, 0.81286, 0.50357],
    "uda": [1.3965, 1.1131, 0.83692, 0.55165, 0.30993],
    "fixmatch": [1.3965, 1.1131, 0.83692, 0.54948, 0.29543],
    "flexmatch": [2.1543, 2.0035, 1.5606, 1.2655, 0.68496],
    "freematch": [2.1433, 1.9924, 1.5487, 1.2542, 0.67338],
    "softmatch": [2.1543, 2.0035, 1.5606, 1.2655, 0.68496],
    "debiased": [1.337, 1.0776, 0.81941, 0.54343, 0.30208],
    "evidential": [1.3965, 1.1661, 0.90773, 0.6102, 0.37871],
    "energy": [1.3995, 1.1342, 0.86515, 0.58366, 0.68939],
    "distinctive_margin": [2.7431, 1.7215, 1.0812, 1.1172, 0.0041282],
    "tod": [1.412, 1.1226, 0.84824, 0.56099, 0.30597],
    "boostmis": [1.3965, 1.1131, 0.83692, 0.54948, 0.29543],
    "adversarial_twin": [1.4554, 1.0557, 0.95212, 0.76351, 0.5156],
    "mme": [1.314, 1.0582, 0.70164, 0.65765, 0.34539],
    "dann": [1.3965, 1.0234, 0.65654, 0.28111, 0.31645],
    "waal": [1.4017, 1.1562, 0.8617, 0.58791, 0.43745],
    "shot": [1.3175, 1.2644, 0.91738, 0.81833, 0.48838],
    "anchors": [3.5123, 5.5891, 4.9136, 3.6833, 3.5198],
    "divide": [1.4371, 1.1553, 0.90199, 0.63295, 0.37625],
}

GOLDEN = {
    "supervised": [0.3194, 0.10536, 0.10198, 0.052997, 0.18271],
    "fixmatch": [0.32895, 0.18642, 0.2502, 0.31594, 0.28636],
    "mean_teacher": [0.52419, 0.94969, 0.73183, 0.59043, 0.72217],
    "pseudo_label": [0.30549, 0.3907, 0.074458, 0.015521, 0.010769],
    "pi_model": [0.37672, 0.23425, 0.23224, 0.11857, 0.24958],
    "mixmatch": [0.73862, 0.6462, 0.79493, 0.43633, 0.717],
    "uda": [0.77295, 0.57127, 0.4809, 0.37442, 0.46089],
    "flexmatch": [1.11, 1.0685, 0.5645, 0.45017, 0.85122],
    "freematch": [1.0989, 1.0574, 0.51967, 0.43043, 0.86322],
    "softmatch": [1.11, 1.0685, 0.5645, 0.45015, 0.85119],
    "debiased": [0.34769, 0.1885, 0.50892, 0.31883, 0.28119],
    "evidential": [0.31865, 0.11862, 0.10338, 0.060191, 0.17524],
    "energy": [0.30548, 0.39569, 0.078552, 0.024035, 0.019563],
    "distinctive_margin": [-0.33615, -0.76202, -0.85041, -0.69072, -0.228],
    "tod": [0.35947, 0.15906, 0.21348, 0.092778, 0.23431],
    "boostmis": [0.32884, 0.18143, 0.2477, 0.25128, 0.29227],
    "adversarial_twin": [0.66825, 0.5042, 0.41616, 0.53903, 0.60179],
    "mme": [0.32812, 0.057402, 0.0060691, 0.099531, 0.29833],
    "dann": [-0.10564, -0.073076, -0.35028, -0.25864, -0.29298],
    "waal": [0.28723, 0.4028, 0.2449, 0.14824, 0.28612],
    "shot": [0.13597, 0.12461, 0.0050442, -0.15494, 0.11089],
    "anchors": [2.8706, 2.8099, 2.8211, 2.9761, 2.8138],
    "divide": [0.38414, 0.17229, 0.6473, 0.48989, 0.315],
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_golden_losses_of_the_first_fits(objective: str) -> None:
    """Losses after 10, 20, ... 50 steps, so that no unintended change of training goes unnoticed."""
    losses: list[float] = []
    model = learner(objective, steps=50, min_steps=50)
    model.fit(labels([0, 1, 2, 3, 4, 5]), round=0, seed=0, log=lambda values, step: losses.append(values["train/loss"]))
    assert losses == pytest.approx(GOLDEN[objective], rel=1e-3)


class Watched:
    """An objective that keeps all steps of another one."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.uses_unlabeled = objective, objective.uses_unlabeled
        self.steps: list[Step] = []

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        self.steps.append(self.objective.step(models, labeled, unlabeled, progress))
        return self.steps[-1]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_golden_losses_of_the_first_five_steps(objective: str) -> None:
    model = learner(objective, steps=30, min_steps=30)
    model.objective = watched = Watched(OBJECTIVES[objective]())
    model.fit(labels([0, 1, 2, 3, 4, 5]), round=0, seed=0, log=no_log)
    assert [step.loss.item() for step in watched.steps[:5]] == pytest.approx(FIRST_FIVE[objective], rel=1e-4)


@pytest.mark.parametrize("objective", ["supervised", "fixmatch", "mean_teacher"])
def test_the_record_in_bulk_equals_an_update_a_step(objective: str) -> None:
    """Evidence that is collected and written in bulk, over several passes of the pool, equals an update a step."""
    model = learner(objective)
    model.objective = watched = Watched(OBJECTIVES[objective]())
    result = fit(model.make(0), watched, inputs(), sets(6), SCHEDULE, seed=0, log=no_log)
    slow = ConsistencyRecorder(N)
    for step in watched.steps:
        if step.evidence is not None:
            slow.update(step.evidence.indices, *(probs.numpy() for probs in step.evidence.probs()))
    for name, values in slow.record().arrays().items():
        exact = name in ("seen", "pseudo_label", "agreement", "flips", "above")
        np.testing.assert_allclose(result.recorder.record().arrays()[name], values, rtol=0, atol=0 if exact else 1e-6)
    assert result.recorder.seen.max() == (0 if objective == "supervised" else 10)  # 30 steps, 3 batches a pass


def test_evidence_is_written_before_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST", 7)
    recorder, sizes = ConsistencyRecorder(20), []
    monkeypatch.setattr(recorder, "update", lambda rows, weak, strong: sizes.append(len(rows)))
    evidences, probs = recording.Evidences(recorder), torch.full((3, 2), 0.5)
    for start in (0, 3, 6, 9):
        evidences.add(Evidence(np.arange(start, start + 3), probs, probs))
    evidences.write()
    evidences.write()
    assert sizes == [3, 3, 3, 3]
    monkeypatch.setattr(recording, "MOST", 12)
    for start in (0, 3, 6, 9):
        evidences.add(Evidence(np.arange(start, start + 3), probs, probs))
    evidences.write()
    assert sizes[4:] == [6, 6]


def test_evidence_may_be_logits_and_of_either_kind_in_turns() -> None:
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    evidences, slow = recording.Evidences(ConsistencyRecorder(20)), ConsistencyRecorder(20)
    for kind in (LogitEvidence, LogitEvidence, Evidence, Evidence, LogitEvidence):
        rows = rng.permutation(20)[:4]
        weak, strong = 5 * torch.randn(2, 4, 3, generator=generator)
        probs = weak.softmax(dim=1), strong.softmax(dim=1)
        evidences.add(LogitEvidence(rows, weak, strong) if kind is LogitEvidence else Evidence(rows, *probs))
        slow.update(rows, *(p.numpy() for p in probs))
    evidences.write()
    for name, values in slow.record().arrays().items():
        np.testing.assert_allclose(evidences.recorder.record().arrays()[name], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 4), (1, 2)])
def test_probabilities_of_logits_are_their_softmax_over_the_classes(shape: tuple[int, ...]) -> None:
    weak, strong = (30 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))).to(torch.bfloat16)
    for probs, logits in zip(LogitEvidence(np.arange(len(weak)), weak, strong).probs(), (weak, strong), strict=True):
        torch.testing.assert_close(probs, logits.float().softmax(dim=1))


def test_a_fit_reports_its_speed_and_its_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))  # every look at the clock is a second
    metrics = fit(learner().make(0), FixMatch(), inputs(), sets(6), SCHEDULE, seed=0, log=no_log).metrics
    assert metrics["train/data_share"] == 30 / 61 and metrics["train/steps_per_second"] == 30 / 61
    assert metrics["train/images_per_second"] == 30 * (8 + 16) / 61


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    dropout, x = Dropout(0.2), torch.ones(400, 512, requires_grad=True)
    torch.manual_seed(0)
    y = dropout.train()(x)
    share = (y == 0).float().mean().item()
    assert share == pytest.approx(51 / 256, abs=0.005)  # 204,800 draws: a standard error of 0.001
    assert y.mean().item() == pytest.approx(1, abs=0.005)
    assert y.unique().tolist() == pytest.approx([0, 256 / 205])
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())
    assert not torch.equal(y, dropout(x))
    torch.manual_seed(0)
    assert torch.equal(y, dropout(x))
    assert dropout.eval()(x) is x
    assert Dropout(0.0).train()(x) is x
    with pytest.raises(InputError, match="dropout"):
        Dropout(1.0)


def test_the_schedule_follows_the_number_of_labels() -> None:
    schedule = Schedule(steps=150, min_steps=40, steps_per_label=4)
    assert [schedule.length(k) for k in (1, 10, 20, 30, 1000)] == [40, 40, 80, 120, 150]
    assert Schedule(steps=20, min_steps=40).length(5) == 20


def test_a_loss_that_is_not_finite_stops_and_names_the_batch() -> None:
    class Broken:
        uses_unlabeled = True

        def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
            loss = models.student(labeled.x).sum() * (float("nan") if progress > 0.05 else 1)
            return Step(loss, {})

    broken = learner()
    broken.fit(labels([1, 4]), round=0, seed=0, log=no_log)
    before = probs(broken)
    broken.objective = Broken()
    with pytest.raises(NonFiniteLoss) as error:
        broken.fit(labels([1, 4]), round=1, seed=0, log=no_log)
    rate = 0.05 * 0.5 * (1 + math.cos(math.pi * 2 / 30))
    message = f"training step 2: the loss is nan at learning rate {rate:.2e}; labeled 1, 4; unlabeled "
    assert str(error.value).startswith(message) and str(error.value).endswith(" and 8 more")
    assert len(set(error.value.unlabeled)) == 16
    text = str(error.value.with_ids([f"img-{i}" for i in range(N)]))
    assert "; labeled img-1, img-4; unlabeled img-" in text
    assert np.array_equal(probs(broken), before)  # the last good state is kept


def test_held_out_samples_are_predicted_by_networks_without_them() -> None:
    """Six labels in three folds: a slow refit of each gives the same answers, and the last fit stays as it was."""
    store, model = labels([0, 1, 2, 3, 4, 5]), learner()
    model.fit(store, round=1, seed=3, log=no_log)
    before = probs(model)
    answers, classes = model.held_out(store, round=1, seed=3, folds=3)
    assert np.array_equal(classes, TRUTH[:6])
    assert np.array_equal(probs(model), before)
    of_seed = derive_seed(3, "fit", 1)
    order = derive(of_seed, "folds").permutation(6)
    dealt = [i for c in range(3) for i in order if i % 3 == c]  # class by class
    for k in range(3):
        fold_seed, held_out = derive_seed(of_seed, "fold", k), np.sort(dealt[k::3])
        labeled = np.setdiff1d(np.arange(6), held_out)
        sets = Sets(labeled, TRUTH[labeled], np.arange(6, 50), N)
        slow = fit(model.make(fold_seed), FixMatch(), inputs(), sets, SCHEDULE, seed=fold_seed, log=no_log).teacher
        with torch.no_grad():
            expected = slow(inputs().plain(held_out)).softmax(dim=1).numpy()
        np.testing.assert_allclose(answers[held_out], expected, rtol=1e-5)
    wrong = labels([1, 2, 3, 4, 5]).add(
        [Annotation(0, "class", 1, "t", 0)]
    )  # sample 0 as class 1: none of its own kind
    one_by_one, _ = model.held_out(wrong, round=1, seed=3, folds=50)
    assert one_by_one.shape == (6, 3) and one_by_one[-1].argmax() == 0  # predicts 0, not the held-out label


def test_no_labels_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one label"):
        learner().fit(LabelStore(N).add([Annotation(0, "skip", None, "t", 0)]), round=0, seed=0, log=no_log)
    with pytest.raises(InputError, match="fitted or loaded"):
        next(learner().predict(np.arange(3)))


ODD_LABELS = {
    "one class": [0, 3, 6],
    "fewer labels than classes": [0, 1],
    "one label, a batch of eight": [4],
    "none left without": list(range(50)),
    "one left without": list(range(49)),
}


@pytest.mark.parametrize("rows", ODD_LABELS.values(), ids=list(ODD_LABELS))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_odd_labeled_sets_train_every_objective(objective: str, rows: list[int]) -> None:
    model = learner(objective, steps=4, min_steps=4)
    result = model.fit(labels(rows), round=0, seed=0, log=no_log)
    assert np.isfinite(probs(model)).all() and np.isfinite(result.metrics["train/loss"])
    assert result.consistency is not None
    assert np.array_equal(np.flatnonzero(result.consistency.seen), np.setdiff1d(np.arange(50), rows))


def test_a_corrected_label_trains_as_if_it_had_always_been_so() -> None:
    store = labels([0, 1, 2, 3])
    right = LabelStore(N).add(Annotation(i, "class", int(TRUTH[i]) if i else 2, "t", 0) for i in range(4))
    one, two, old = learner(), learner(), learner()
    one.fit(store.add([Annotation(0, "class", 2, "t", 1)]), round=1, seed=0, log=no_log)
    two.fit(right, round=1, seed=0, log=no_log)
    old.fit(store, round=1, seed=0, log=no_log)
    assert np.array_equal(probs(one), probs(two)) and not np.array_equal(probs(one), probs(old))
    skipped = store.add([Annotation(0, "skip", None, "t", 1)])  # taken back: the row is unlabeled again
    record = one.fit(skipped, round=1, seed=0, log=no_log).consistency
    assert record is not None and record.seen[0] >= 2 and (record.seen[[1, 2, 3]] == 0).all()


def test_training_and_objectives_share_no_keys() -> None:
    """The `train` section of a recipe holds both, so the names must differ."""
    keys = {f.name for f in fields(Schedule)}
    for kind in (*OBJECTIVES.values(), *DENSE_OBJECTIVES.values()):
        assert not keys & {f.name for f in fields(cast(Any, kind))}


def test_weights_of_another_network_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = learner()
    model.fit(labels([0, 1]), round=0, seed=0, log=no_log)
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(file)
    other = learner()
    other.make = lambda seed: Classifier(nn.Identity(), DIM, CLASSES + 1, dropout=0.0, seed=seed)
    with pytest.raises(InputError, match=r"2 of another shape: head\.weight \(3, 6\) for \(4, 6\), head\.bias"):
        other.load(file)
    file.write_bytes(b"\x80\x04not tensors")
    with pytest.raises(InputError, match="a safetensors file"):
        model.load(file)


def test_labeled_batches_pass_through_all_labels_or_balance_the_classes() -> None:
    targets = np.asarray([0] * 9 + [1])
    rows = list(itertools.islice(labeled_batches(targets, 4, np.random.default_rng(0), balanced=False), 5))
    assert np.array_equal(np.sort(np.concatenate(rows)), np.sort(np.tile(np.arange(10), 2)))
    rows = list(itertools.islice(labeled_batches(targets, 4, np.random.default_rng(0), balanced=True), 50))
    assert all((targets[batch] == 1).sum() == 2 for batch in rows)
    few = next(labeled_batches(np.asarray([0, 1]), 32, np.random.default_rng(0), balanced=False))
    assert np.bincount(few).tolist() == [16, 16]


def test_unlabeled_batches_are_permutations_without_replacement() -> None:
    rows = np.arange(100, 120)
    batches = list(itertools.islice(unlabeled_batches(rows, 8, np.random.default_rng(0)), 10))
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert len(np.unique(np.concatenate([first, second]))) == 16
    assert len(next(unlabeled_batches(rows, 64, np.random.default_rng(0)))) == 20


def test_views_are_drawn_from_the_cache_of_each_row() -> None:
    source = inputs()
    rows = np.asarray([4, 9, 4])
    batch: Tensor = source.weak(rows, torch.Generator().manual_seed(0))
    for row, vector in zip(rows, batch.numpy(), strict=True):
        assert any(np.array_equal(vector, view[row].astype(np.float32)) for view in source.weak_VND)
