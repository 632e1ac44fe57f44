"""One file for each pocket model: its configuration, its processor, and where its parts are."""
