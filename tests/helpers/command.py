"""The command line, called in this process."""

from __future__ import annotations

from hybrid_al.cli import main


def call(*argv: object) -> int:
    """Exit code of a call."""
    try:
        main([str(a) for a in argv])
    except SystemExit as end:
        return int(end.code or 0)
    return 0
