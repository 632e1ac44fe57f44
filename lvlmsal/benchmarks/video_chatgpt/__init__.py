"""Video-ChatGPT's benchmark, rated by a judge model."""
