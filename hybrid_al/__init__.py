"""hybrid-al: self-supervised cold start, semi-supervised training, consistency-scored queries.

The names below are the front door for other code (docs/library.md). Each is loaded when it is first used, so that
`import hybrid_al` costs nothing and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api.embedding import embed, pretrain
    from .api.loop import Loop
    from .api.open_query import OpenQuery
    from .api.picks import Picks, pick
    from .api.results import Run, Table, open
    from .api.runs import run
    from .api.torch_model import TorchModel

__version__ = "0.2.0"

__all__ = [
    "Loop",
    "OpenQuery",
    "Picks",
    "Run",
    "Table",
    "TorchModel",
    "__version__",
    "embed",
    "open",
    "pick",
    "pretrain",
    "run",
]

_HOMES = {
    "pick": "picks",
    "Picks": "picks",
    "embed": "embedding",
    "pretrain": "embedding",
    "Loop": "loop",
    "OpenQuery": "open_query",
    "TorchModel": "torch_model",
    "run": "runs",
    "open": "results",
    "Run": "results",
    "Table": "results",
}

if not TYPE_CHECKING:  # a type checker sees the imports above, and names that do not exist

    def __getattr__(name: str) -> object:
        """A public name, loaded from its home."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f".api.{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The public names, loaded or not."""
        return sorted({*globals(), *__all__})
