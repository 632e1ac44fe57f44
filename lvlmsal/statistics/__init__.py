"""Uncertainty of figures: bootstraps of groups, paired tests, and how well a score separates."""
