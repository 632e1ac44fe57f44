"""From text to words, and from words to the objects that they name."""
