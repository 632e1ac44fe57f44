"""SCR: the patches that text looks at most give some of their hidden state to their neighbors."""

from lvlmsal.interventions.scr.intervention import SCR

__all__ = ["SCR"]
