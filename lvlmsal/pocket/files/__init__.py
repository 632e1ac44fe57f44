"""Files of a world in the formats of the real data sets, written from what the world says."""
