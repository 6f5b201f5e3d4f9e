"""The one training loop of stage 0: epochs over the pool, checkpointed, the same whether or not it was interrupted.

It is also the same, up to rounding, in one process and in several (torchrun): they share each batch, and losses that
compare images do so over all processes. Batch norm does so on GPUs only.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from hybrid_al.core.files import write_arrays, write_atomic
from hybrid_al.core.progress import Progress
from hybrid_al.core.rng import derive_seed
from hybrid_al.core.types import IntArray
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views import draws
from hybrid_al.data.views.policies import View
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.models.checkpoint import load_into
from hybrid_al.models.encoder import Encoder

from . import processes
from .base import Loss, Method, of_all
from .feed import Schedule, feed
from .records import Records

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Log = Callable[[Mapping[str, float], int], None]

CHECKPOINT_SECONDS = 60.0
DIGEST = 32  # bytes at the end of a checkpoint: the SHA-256 of those before
AHEAD = 2  # chunks that are loaded while a GPU works


@dataclass(frozen=True)
class Job:
    """One pretraining: method, encoder and data, and the path of its checkpoint (`resume`, deleted by the caller).

    `records`: path of the numbers per sample, where the method has any; None: they are not written.
    """

    method: Method
    encoder: Encoder
    store: ImageStore
    pool: IntArray
    views: View
    seed: int
    device: torch.device
    resume: Path
    records: Path | None = None


@dataclass
class _State:
    """All that a step changes; torch's global generator is seeded before each step."""

    network: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    records: Records
    views: torch.Generator
    losses: list[float] = field(default_factory=list)  # of the epoch so far
    step: int = 0


class _LossModule(nn.Module):
    """A method's loss as the forward pass of its network: what Fabric wraps."""

    def __init__(self, job: Job, network: nn.ModuleDict) -> None:
        super().__init__()
        self.job, self.network = job, network

    def forward(
        self, images: Tensor, views: torch.Generator, progress: float
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The fields of `Loss`."""
        loss = self.job.method.loss(self.network, images, self.job.views, views, progress)
        return loss.total, loss.per_sample, loss.confidence


@dataclass
class _Training:
    """All that is fixed over the steps of this process."""

    job: Job
    fabric: Fabric
    schedule: Schedule
    state: _State
    loss_module: nn.Module
    optimizer: torch.optim.Optimizer  # that of the state, wrapped
    rates: LambdaLR

    def load(self, rows: IntArray) -> Tensor:
        """This process's images of a chunk, ready to be copied to its device."""
        images = self.job.store.batch(self.schedule.share(rows, self.fabric.global_rank))
        return images.pin_memory() if self.fabric.device.type == "cuda" else images


@dataclass
class _Meter:
    """Speed of an epoch, over the steps that this process ran."""

    start: float = field(default_factory=time.perf_counter)
    images: int = 0
    waiting: float = 0.0

    def numbers(self) -> dict[str, float]:
        """Images a second of all processes, and the share of time spent on waiting for them, in [0, 1]."""
        seconds = max(time.perf_counter() - self.start, 1e-9)
        return {"stage0/images_per_second": self.images / seconds, "stage0/data_share": self.waiting / seconds}


def pretrain(job: Job, *, log: Log, progress: Progress) -> None:
    """Train `job.encoder` in place; deterministic on CPU given the seed, also across a kill and a resume.

    Under torchrun every process calls this; process 0 writes the files, and its encoder counts. Logged after each
    epoch: the mean of `stage0/loss`, and the speed.
    """
    fabric = processes.fabric(job.device)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), processes.joined():
        training = _begin(job, fabric)
        state, schedule = training.state, training.schedule
        chunks = feed(
            schedule.rows(job.pool, job.seed, state.step),
            training.load,
            ahead=AHEAD if fabric.device.type == "cuda" else 0,
        )
        meter, saved = _Meter(), time.monotonic()
        while state.step < schedule.total:
            if state.step % schedule.per_epoch == 0:
                state.views, state.losses, meter = _views(job, fabric, state.step // schedule.per_epoch), [], _Meter()
            _step(training, chunks, meter)
            _report(schedule, state, meter, progress)
            if len(state.losses) == schedule.per_epoch:
                log({"stage0/loss": sum(state.losses) / schedule.per_epoch, **meter.numbers()}, state.step)
            if fabric.is_global_zero and time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(job.resume, state, schedule)
                saved = time.monotonic()
    job.encoder.requires_grad_(True)
    arrays = state.records.arrays()
    if arrays and job.records is not None and fabric.is_global_zero:
        write_arrays(job.records, arrays)


def _begin(job: Job, fabric: Fabric) -> _Training:
    """The training at its checkpoint, or at its start."""
    schedule = Schedule.of(job.method, len(job.pool), fabric.world_size)
    torch.manual_seed(derive_seed(job.seed, "pretrain-head"))
    job.encoder.to(fabric.device)
    network = job.method.network(job.encoder, job.store.batch(job.pool[:2]).to(fabric.device)).to(fabric.device).train()
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = cast(nn.ModuleDict, convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job.method.lr, weight_decay=job.method.weight_decay, fused=True)
    state = _State(network, optimizer, Records(len(job.store)), _views(job, fabric, 0))
    _restore(job.resume, state, schedule)
    rates = LambdaLR(optimizer, lambda step: _warm_cosine(step, schedule.total), last_epoch=state.step - 1)
    loss_module, fabric_optimizer = fabric.setup(_LossModule(job, network), optimizer)
    return _Training(job, fabric, schedule, state, loss_module, fabric_optimizer, rates)


def _views(job: Job, fabric: Fabric, epoch: int) -> torch.Generator:
    """Generator of the views of an epoch, for the images of this process."""
    return draws.generator(derive_seed(job.seed, "pretrain-views", epoch), fabric.global_rank, fabric.world_size)


def _step(training: _Training, chunks: Iterator[tuple[IntArray, Tensor]], meter: _Meter) -> None:
    """One step on a batch, in views that depend on seed and step alone."""
    job, fabric, state = training.job, training.fabric, training.state
    count, total = training.schedule.chunks, training.schedule.total
    progress = state.step / total
    torch.manual_seed(derive_seed(job.seed, f"pretrain-dropout/{fabric.global_rank}", state.step))
    training.optimizer.zero_grad(set_to_none=True)
    losses = []
    for i in range(count):
        start = time.perf_counter()
        rows, images = next(chunks)
        images = images.to(fabric.device, non_blocking=True)
        meter.waiting += time.perf_counter() - start
        with fabric.no_backward_sync(training.loss_module, enabled=i < count - 1):  # type: ignore[arg-type]
            total_loss, per_sample, confidence = training.loss_module(images, state.views, progress)
            fabric.backward(total_loss / count)
        mean = of_all(total_loss.detach().view(1)).mean()
        per_sample, confidence = (None if x is None else of_all(x) for x in (per_sample, confidence))
        state.records.add(rows, Loss(mean, per_sample, confidence))
        losses.append(mean.item())
        meter.images += len(rows)
    value = sum(losses) / count
    if not math.isfinite(value):
        rate = float(training.optimizer.param_groups[0]["lr"])
        raise HybridALError(f"pretraining step {state.step}: the loss is {value} at learning rate {rate:.2e}")
    training.optimizer.step()
    training.rates.step()
    job.method.after_step(state.network, progress)
    state.losses.append(value)
    state.step += 1


def _report(schedule: Schedule, state: _State, meter: _Meter, progress: Progress) -> None:
    epoch, speed = (state.step - 1) // schedule.per_epoch + 1, meter.numbers()
    message = f"stage 0, epoch {epoch}/{schedule.epochs}, loss {state.losses[-1]:.3f}"
    message += f", {speed['stage0/images_per_second']:.0f} images/s, {speed['stage0/data_share']:.0%} waiting for data"
    progress(state.step, schedule.total, message)


def _warm_cosine(step: int, total: int) -> float:
    """Linear warm-up over the first tenth, then a cosine to zero."""
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _save(path: Path, state: _State, schedule: Schedule) -> None:
    """Write the whole state, which may be in the middle of an epoch."""
    checkpoint = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "records": state.records.state(),
        "views": state.views.get_state(),
        "losses": state.losses,
        "step": state.step,
        "batch": schedule.batch,
    }
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomic(path, buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest())


def _restore(path: Path, state: _State, schedule: Schedule) -> None:
    """Load a checkpoint where there is one that is whole, of any number of processes."""
    if not path.is_file():
        return
    data = path.read_bytes()
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        print(f"{path}: cut or changed; stage 0 begins again", file=sys.stderr)
        return
    checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if checkpoint.get("batch", schedule.batch) != schedule.batch:
        raise InputError(path, f"a training in batches of {schedule.batch}", str(checkpoint["batch"]))
    load_into(state.network, checkpoint["network"], path)
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.records.restore(checkpoint["records"])
    state.views.set_state(checkpoint["views"])
    state.losses, state.step = checkpoint["losses"], checkpoint["step"]
