"""The one training loop of stage 0: epochs over the pool, checkpointed, the same whether or not it was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hybrid_al.data.store import ImageStore
from hybrid_al.data.views import ViewPolicy
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.models.checkpoint import seeded
from hybrid_al.models.encoder import Encoder
from hybrid_al.rng import derive, derive_seed
from hybrid_al.types import IntArray

from .base import Method

Log = Callable[[Mapping[str, float], int], None]
Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, message) -> None."""

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """One pretraining: what is trained on what, and where its checkpoint lives (`resume`, deleted by the caller)."""

    method: Method
    encoder: Encoder
    store: ImageStore
    pool: IntArray
    views: ViewPolicy
    seed: int
    device: torch.device
    resume: Path


def pretrain(job: Job, *, log: Log, progress: Progress) -> None:
    """Train `job.encoder` in place; deterministic on CPU given the seed, also across a kill and a resume."""
    method = job.method
    batch = min(method.batch, len(job.pool))
    if batch < 2:
        raise InputError("pretrain", "a pool of at least two images", str(len(job.pool)))
    dim = _dim(job)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(job.seed, "pretrain-head"))
        head = method.head(dim).to(job.device)
    network = nn.ModuleDict({"encoder": job.encoder.to(job.device), "head": head}).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=method.lr, weight_decay=method.weight_decay)
    per_epoch = len(job.pool) // batch
    total = per_epoch * method.epochs
    start, saved = _restore(job.resume, network, optimizer), time.monotonic()
    for epoch in range(start, method.epochs):
        mean = _epoch(job, network, optimizer, epoch, batch, total, progress)
        log({"stage0/loss": mean}, (epoch + 1) * per_epoch)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(job.resume, network, optimizer, epoch + 1)
            saved = time.monotonic()


def _epoch(
    job: Job,
    network: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    batch: int,
    total: int,
    progress: Progress,
) -> float:
    """One pass over the pool in an order and with views that depend on (seed, epoch) alone; its mean loss."""
    order = derive(job.seed, "pretrain-order", epoch).permutation(job.pool)
    generator = seeded(derive_seed(job.seed, "pretrain-views", epoch))
    steps, losses = len(order) // batch, []
    for i in range(steps):
        step = epoch * steps + i
        for group in optimizer.param_groups:
            group["lr"] = job.method.lr * _warm_cosine(step, total)
        images = job.store.batch(order[i * batch : (i + 1) * batch]).to(job.device)
        loss = job.method.loss(network["encoder"], network["head"], images, job.views, generator)  # type: ignore[arg-type]
        value = loss.item()
        if not math.isfinite(value):
            raise HybridALError(f"pretraining step {step}: the loss is {value} at learning rate {group['lr']:.2e}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(value)
        progress(step + 1, total, f"epoch {epoch + 1}/{job.method.epochs}, loss {value:.3f}")
    return sum(losses) / len(losses)


def _warm_cosine(step: int, total: int) -> float:
    """Linear warm-up over the first tenth, then a cosine to zero."""
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _dim(job: Job) -> int:
    with torch.no_grad():
        return int(job.encoder.eval()(job.store.batch(job.pool[:2])).shape[1])


def _save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Epochs already done; 0 where there is no checkpoint."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])
