"""The report and what the command line says: mirrors of the run directory."""
