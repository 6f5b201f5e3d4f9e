"""`python -m hybrid_al.cli`."""

from . import main

main()
