"""Metrics over answers and captions, the rules that read them, and their uncertainty."""
