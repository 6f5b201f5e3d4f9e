"""`python -m pretrain RECIPE [key.path=value ...]`: the same as `hybrid-al pretrain`."""

from __future__ import annotations

import sys

from hybrid_al.cli import main

if __name__ == "__main__":
    main(["pretrain", *sys.argv[1:]])
