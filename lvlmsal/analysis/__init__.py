"""The paper's analyses: what tells hallucinated tokens from those that are right."""
