"""Every error that the toolkit raises on purpose: one base, one line that says where, what was expected, what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

LINE, ECHO = 1000, 200  # characters from which a line is cut, and those that are left of it


class HybridALError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line ends with."""

    exit_code = 2


class InputError(HybridALError):
    """Something that came from outside (a file, a recipe, an answer) is not what it should be."""

    def __init__(self, where: object, expected: str, came: str) -> None:
        self.where, self.expected, self.came = short(str(where)), short(expected, 4 * LINE), short(came)
        super().__init__(f"{self.where}: expected {self.expected}, got {self.came}")

    def at(self, where: object) -> InputError:
        """The same error, said of another place."""
        InputError.__init__(self, where, self.expected, self.came)
        return self


def short(text: str, most: int = LINE) -> str:
    """A text of which no line is longer than `most` characters: of a longer one `ECHO` characters are left."""
    lines = text.split("\n")
    if all(len(line) <= most for line in lines):
        return text
    cut = (line if len(line) <= most else f"{line[: ECHO * 3 // 4]} ... {line[-ECHO // 4 :]}" for line in lines)
    return "\n".join(cut)


@contextmanager
def reading(file: object, expected: str) -> Iterator[None]:
    """The boundary to what comes from outside: whatever a library raises in the block is one InputError of the file.

    expected  what the file should hold. Errors of ours pass, and so do those of the machine: no memory left, no
              permission, no such file is said as it is
    """
    try:
        yield
    except HybridALError:
        raise
    except MemoryError as error:
        raise InputError(file, f"{expected or 'a file'} that fits into memory", reason(error)) from error
    except Exception as error:
        raise InputError(file, expected, reason(error)) from error


@contextmanager
def parsing(kind: str) -> Iterator[None]:
    """The same within a reader, whose callers name the file: whatever a library raises is a ValueError of one line.

    kind      what the file is then, as "a damaged TIFF". Errors of ours, ValueError and OSError keep their words
    """
    try:
        yield
    except (HybridALError, OSError):
        raise
    except ValueError as error:
        raise ValueError(reason(error)) from error
    except Exception as error:
        raise ValueError(f"{kind} ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind where it says nothing."""
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    kind = type(error).__name__
    return short(text if text and isinstance(error, OSError | ValueError) else f"{kind}: {text}" if text else kind)


class UnknownName(InputError):
    """A name that is in no registry or list of keys; the line names the nearest one."""

    def __init__(self, where: object, name: str, names: Iterable[str], *, most: int = 60) -> None:
        choices, name = sorted(names), short(name)
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
