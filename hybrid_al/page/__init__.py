"""The local page on which people answer a query (`hybrid-al label`)."""
