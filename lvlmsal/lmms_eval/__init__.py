"""The model `lvlmsal` of lmms-eval: its own model classes, with methods of this library inside."""
