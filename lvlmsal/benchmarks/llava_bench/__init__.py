"""LLaVA-Bench (in the wild), rated by a judge model."""
