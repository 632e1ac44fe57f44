"""How the pocket models were made: configurations, batches, training, and their measures."""
