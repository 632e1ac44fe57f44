"""What a run has found: the run folder, its records, and the figures made from them."""
