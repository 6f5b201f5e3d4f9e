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
    """A name that no registry or key list has; names the nearest one that exists."""

    def __init__(self, where: object, name: str, known: Iterable[str], *, listed: int = 60) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        shown = ", ".join(names) if len(names) <= listed else f"{len(names)} names"
        hint = f"{name!r}; did you mean {near[0]!r}?" if near else repr(name)
        super().__init__(where, f"one of {shown or 'nothing'}", hint)


class NonFiniteLoss(HybridALError):
    """A training stopped at a loss that is not finite; nothing of the fit is kept, so the last good state stands."""

    def __init__(
        self,
        loss: float,
        *,
        step: int,
        rate: float,
        labeled: Sequence[object],
        unlabeled: Sequence[object],
        shown: int = 8,
    ) -> None:
        self.loss, self.step, self.rate, self.labeled, self.unlabeled = loss, step, rate, labeled, unlabeled
        batch = {"labeled": labeled, "unlabeled": unlabeled}
        said = [
            f"{kind} {', '.join(map(str, rows[:shown]))}{f' and {len(rows) - shown} more' if len(rows) > shown else ''}"
            for kind, rows in batch.items()
            if rows
        ]
        super().__init__(f"training step {step}: the loss is {loss} at learning rate {rate:.2e}; {'; '.join(said)}")

    def named(self, ids: Sequence[str]) -> NonFiniteLoss:
        """The same with the ids of the samples in the place of their positions."""
        labeled, unlabeled = ([ids[int(str(i))] for i in rows] for rows in (self.labeled, self.unlabeled))
        return NonFiniteLoss(self.loss, step=self.step, rate=self.rate, labeled=labeled, unlabeled=unlabeled)


class UnreadableImages(HybridALError):
    """Images that cannot be read, all of them at once, so that a folder is repaired in one go."""

    def __init__(self, problems: list[tuple[str, str]], *, shown: int = 20) -> None:
        self.problems = problems
        lines = [f"  {path}: {why}" for path, why in problems[:shown]]
        if len(problems) > shown:
            lines.append(f"  ... and {len(problems) - shown} more")
        super().__init__(
            f"{len(problems)} image(s) cannot be read; data.on_error=skip would leave them out:\n" + "\n".join(lines)
        )


class RunLocked(HybridALError):
    """Another process is using the run directory."""


class AwaitingLabels(HybridALError):
    """The loop stops here until a person has answered the open query."""

    exit_code = 3
