"""What a run is to do: the config, read, checked and built, before any weights are loaded."""
