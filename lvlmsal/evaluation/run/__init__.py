"""How a run goes: models, batches, processes, notes, and the way back after a kill."""
