"""AMBER: captions and yes-or-no questions about what is in an image."""
