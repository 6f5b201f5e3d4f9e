"""Query strategies by name; adding one = one file, one line here."""
