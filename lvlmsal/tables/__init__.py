"""Tables of every command: one object, and a writer for each format."""
