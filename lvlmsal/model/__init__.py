"""One model with its adapter: `load`, `Lvlm`, and the answers that it gives."""
