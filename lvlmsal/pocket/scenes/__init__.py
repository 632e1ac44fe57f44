"""The procedural scene world: what is drawn, what is said about it, and its files."""
