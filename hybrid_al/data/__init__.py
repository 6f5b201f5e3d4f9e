"""From files to samples: sources find them, readers decode them, stores keep them, views change them."""
