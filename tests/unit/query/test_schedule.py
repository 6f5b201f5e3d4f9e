"""What a schedule may say beyond lengths and rates: parts of a step, where a round starts, what is recorded."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_al.core.consistency import Recording, Witness
from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.files import write_arrays
from hybrid_al.errors import InputError
from hybrid_al.models.classifier import Classifier
from hybrid_al.scores.recorder import ConsistencyRecorder
from hybrid_al.semi import OBJECTIVES
from hybrid_al.semi.base import Labeled, Models, Objective, Step, Unlabeled
from hybrid_al.semi.fixmatch import FixMatch
from hybrid_al.train import Schedule, _autocast, fit
from tests.unit.test_train import CLASSES, DIM, SCHEDULE, TRUTH, N, inputs, labels, learner, no_log, probs, sets


class Noting:
    """An objective that notes what came and what it said."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.uses_unlabeled = objective, objective.uses_unlabeled
        self.labeled: list[Labeled] = []
        self.unlabeled: list[Unlabeled] = []
        self.steps: list[Step] = []

    def step(self, models: Models, labeled: Labeled, unlabeled: Unlabeled | None, progress: float) -> Step:
        self.labeled.append(labeled)
        if unlabeled is not None:
            self.unlabeled.append(unlabeled)
        self.steps.append(self.objective.step(models, labeled, unlabeled, progress))
        return self.steps[-1]


def test_accumulated_batches_make_the_step_of_one_batch_as_large() -> None:
    net = learner().make(3)
    net.dropout.p = 0.0
    one, noting = copy.deepcopy(net), Noting(OBJECTIVES["supervised"]())
    schedule = replace(SCHEDULE, steps=1, min_steps=1, batch=4, accumulate=2)
    done = fit(net, noting, inputs(), sets(12), schedule, seed=0, log=no_log)
    first, second = noting.labeled
    assert not torch.equal(first.x, second.x)
    optimizer = torch.optim.AdamW(one.head.parameters(), lr=0.05, weight_decay=schedule.weight_decay)
    x, y = torch.cat([first.x, second.x]), torch.cat([first.y, second.y])
    nn.functional.cross_entropy(one(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    torch.testing.assert_close(done.student.head.weight, one.head.weight)
    assert done.metrics["train/steps_per_second"] * 8 == pytest.approx(done.metrics["train/images_per_second"])


def test_encoder_and_head_have_learning_rates_of_their_own() -> None:
    """The first step of AdamW moves a weight by its learning rate, whatever the gradient."""

    def made() -> Classifier:
        torch.manual_seed(0)
        return Classifier(nn.Linear(DIM, DIM), DIM, CLASSES, dropout=0.0, seed=0)

    rates = Schedule(steps=1, min_steps=1, batch=8, ratio=2, lr_head=0.05, lr_encoder=0.002, weight_decay=0.0)
    fitted, before = fit(made(), FixMatch(), inputs(), sets(6), rates, seed=0, log=no_log).student, made()
    for part, rate in (("head", 0.05), ("encoder", 0.002)):
        moved = (getattr(fitted, part).weight - getattr(before, part).weight).abs()
        assert moved.max().item() == pytest.approx(rate, rel=1e-3)


def test_mixed_precision_is_for_a_gpu_and_leaves_a_cpu_alone() -> None:
    plain, mixed = learner(), learner(precision="bfloat16")
    plain.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    mixed.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    assert np.array_equal(probs(plain), probs(mixed))
    assert isinstance(_autocast(torch.device("cpu"), "bfloat16"), nullcontext)
    assert isinstance(_autocast(torch.device("cuda"), "float32"), nullcontext)


def test_a_round_may_start_from_the_last_one(tmp_path: Path) -> None:
    cold, warm = (learner(steps=1, min_steps=1, lr_head=1e-9, start=start) for start in ("stage0", "last"))
    first = learner(steps=60, min_steps=60)
    first.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    first.save(tmp_path / "model.safetensors")
    warm.fit(labels([0, 1, 2, 3]), round=1, seed=0, log=no_log, previous=tmp_path)
    np.testing.assert_allclose(probs(warm), probs(first), atol=1e-5)
    cold.fit(labels([0, 1, 2, 3]), round=1, seed=0, log=no_log, previous=tmp_path)
    assert abs(probs(cold) - probs(first)).max() > 0.1
    warm.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)  # the first round has nothing to start from
    cold.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    assert np.array_equal(probs(warm), probs(cold))


@pytest.mark.parametrize("witness", ["student", "teacher", "both"])
def test_a_witness_is_asked_after_the_step_in_eval_mode(witness: Witness) -> None:
    """The record of one step: the networks that the fit ends with, asked by hand; the student is not disturbed."""
    usual_schedule = replace(SCHEDULE, steps=1, min_steps=1, lr_head=0.5)
    schedule, noting = replace(usual_schedule, record=Recording(witness=witness)), Noting(FixMatch())
    done = fit(learner().make(0), noting, inputs(), sets(6), schedule, seed=0, log=no_log)
    usual = fit(learner().make(0), FixMatch(), inputs(), sets(6), usual_schedule, seed=0, log=no_log)
    assert torch.equal(done.student.head.weight, usual.student.head.weight) and done.student.training
    student, teacher = done.student.eval(), done.teacher
    weak, strong = {"student": (student, student), "teacher": (teacher, teacher), "both": (teacher, student)}[witness]
    views = noting.unlabeled[0]
    with torch.no_grad():
        p, q = weak(views.weak).softmax(dim=1).numpy(), strong(views.strong).softmax(dim=1).numpy()
    record, rows = done.recorder.record(), views.indices
    np.testing.assert_allclose(record.confidence[rows], p.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(record.agreement[rows], p.argmax(axis=1) == q.argmax(axis=1))
    assert not np.allclose(record.confidence, usual.recorder.record().confidence)


def test_the_first_part_of_a_fit_may_be_left_out_of_the_record() -> None:
    noting, recording = Noting(FixMatch()), Recording(skip=2 / 3, decay=1.0)
    done = fit(learner().make(0), noting, inputs(), sets(6), replace(SCHEDULE, record=recording), seed=0, log=no_log)
    slow = ConsistencyRecorder(N, recording)
    for step in noting.steps[20:]:
        assert step.evidence is not None
        slow.update(step.evidence.indices, *(probs.numpy() for probs in step.evidence.probs()))
    assert np.array_equal(done.recorder.seen, slow.seen) and 0 < slow.seen.max() < 5
    np.testing.assert_allclose(done.recorder.record().divergence, slow.record().divergence, rtol=0, atol=1e-6)


def test_the_record_is_carried_to_the_next_round(tmp_path: Path) -> None:
    first, alone, carrying = learner(), learner(), learner(record=Recording(carry=0.25))
    before = first.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log).consistency
    assert before is not None
    write_arrays(tmp_path / "consistency.npz", before.arrays())
    now = alone.fit(labels([0, 1, 2, 3]), round=1, seed=0, log=no_log, previous=tmp_path).consistency
    mixed = carrying.fit(labels([0, 1, 2, 3]), round=1, seed=0, log=no_log, previous=tmp_path).consistency
    assert now is not None and mixed is not None
    expected = 0.75 * now.confidence[5:50] + 0.25 * before.confidence[5:50]
    np.testing.assert_allclose(mixed.confidence[5:50], expected, rtol=1e-5)
    assert np.array_equal(mixed.seen[4:], now.seen[4:]) and np.array_equal(mixed.pseudo_label[4:], now.pseudo_label[4:])


def test_prior_pseudo_labels_fill_a_share_of_the_labeled_batch_that_falls_to_none() -> None:
    done, noting = learner("supervised", prior=0.75), Noting(OBJECTIVES["supervised"]())
    done.objective = noting
    with pytest.raises(InputError, match=r"train\.prior: expected embeddings"):
        done.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    done.embeddings = Embeddings(inputs().plain_ND, encoder="e", manifest="m")
    done.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    views, guessed, right = inputs().weak_VND.astype(np.float32), [], 0
    for batch in noting.labeled:
        rows = [int(abs(views - x).sum(axis=2).min(axis=0).argmin()) for x in batch.x.numpy()]
        guessed.append(sum(row > 2 for row in rows))
        assert max(rows) < 50  # of the pool alone
        right += sum(int(TRUTH[row]) == y for row, y in zip(rows, batch.y.tolist(), strict=True))
    assert guessed == [round(8 * 0.75 * (1 - t / 30)) for t in range(30)]
    assert right / (30 * 8) > 0.9
    without, again = learner("supervised"), learner("supervised", prior=0.75)
    again.embeddings = done.embeddings
    for each in (without, again):
        each.fit(labels([0, 1, 2]), round=0, seed=0, log=no_log)
    assert np.array_equal(probs(again), probs(done)) and not np.array_equal(probs(without), probs(done))


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"accumulate": 0}, "accumulate"), ({"prior": 1.0}, "prior"), ({"batch": 0}, "batch"), ({"steps": 0}, "steps")],
)
def test_a_schedule_refuses_what_cannot_be(settings: dict[str, float], key: str) -> None:
    with pytest.raises(InputError, match=f"Schedule.{key}"):
        Schedule(**settings)  # type: ignore[arg-type]
