"""Which words of an answer are wrong: detectors that share one pass, and what they find."""
