"""Open questions on videos, rated by a judge model."""
