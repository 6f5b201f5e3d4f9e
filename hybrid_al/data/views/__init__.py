"""Views: how an image is changed before a network sees it."""
