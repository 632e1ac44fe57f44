"""The configurations that lvlmsal ships, as package data (imported as `lvlmsal.configs`)."""
