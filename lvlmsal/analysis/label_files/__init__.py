"""Files of answers some of whose words are labeled: one's own, and those of published data sets."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("own", "m-haldetect", "halloc", "mhalubench", "faithscore")
"""What the formats are called; `lvlmsal.analysis.label_files.formats` has a reader for each."""
