"""Semi-supervised objectives by name; adding one = one file, one line here."""
