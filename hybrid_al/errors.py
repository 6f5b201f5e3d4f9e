"""Every error that the toolkit raises on purpose: one base, one line that says where, what was expected, what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class HybridALError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line ends with."""

    exit_code = 2


class InputError(HybridALError):
    """Something that came from outside (a file, a recipe, an answer) is not what it should be."""

    def __init__(self, where: object, expected: str, came: str) -> None:
        super().__init__(f"{where}: expected {expected}, got {came}")
        self.where, self.expected, self.came = str(where), expected, came

    def at(self, where: object) -> InputError:
        """The same error, said of another place."""
        self.where, self.args = str(where), (f"{where}: expected {self.expected}, got {self.came}",)
        return self


class UnknownName(InputError):
    """A name that is in no registry or list of keys; the line names the nearest one."""

    def __init__(self, where: object, name: str, names: Iterable[str], *, most: int = 60) -> None:
        choices = sorted(names)
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        listing = ", ".join(choices) if len(choices) <= most else f"{len(choices)} names"
        hint = f"{name!r}; did you mean {near[0]!r}?" if near else repr(name)
        super().__init__(where, f"one of {listing or 'nothing'}", hint)


class NonFiniteLoss(HybridALError):
    """A training stopped at a loss that is not finite; the fit is dropped and the last good state stays."""

    def __init__(
        self,
        loss: float,
        *,
        step: int,
        rate: float,
        labeled: Sequence[object],
        unlabeled: Sequence[object],
        most: int = 8,
    ) -> None:
        self.loss, self.step, self.rate, self.labeled, self.unlabeled = loss, step, rate, labeled, unlabeled
        batch = {"labeled": labeled, "unlabeled": unlabeled}
        batches = [
            f"{kind} {', '.join(map(str, rows[:most]))}{f' and {len(rows) - most} more' if len(rows) > most else ''}"
            for kind, rows in batch.items()
            if rows
        ]
        super().__init__(f"training step {step}: the loss is {loss} at learning rate {rate:.2e}; {'; '.join(batches)}")

    def with_ids(self, ids: Sequence[str]) -> NonFiniteLoss:
        """The same with the ids of the samples in the place of their positions."""
        labeled, unlabeled = ([ids[int(str(i))] for i in rows] for rows in (self.labeled, self.unlabeled))
        return NonFiniteLoss(self.loss, step=self.step, rate=self.rate, labeled=labeled, unlabeled=unlabeled)


class UnreadableImages(HybridALError):
    """Images that cannot be read, all of them at once, so that a folder is repaired in one go.

    alone  there are no others, so that leaving them out is no way
    """

    def __init__(self, problems: list[tuple[str, str]], *, alone: bool = False, most: int = 20) -> None:
        self.problems = problems
        way = "there is no other" if alone else "data.on_error=skip would leave them out"
        lines = [f"  {path}: {why}" for path, why in problems[:most]]
        if len(problems) > most:
            lines.append(f"  ... and {len(problems) - most} more")
        super().__init__(f"{len(problems)} image(s) cannot be read; {way}:\n" + "\n".join(lines))


class RunLocked(HybridALError):
    """Another process is using the run directory."""


class AwaitingLabels(HybridALError):
    """The loop stops here until a person has answered the open query."""

    exit_code = 3
