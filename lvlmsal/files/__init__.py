"""Readers of the files that benchmarks and metrics share.

Nothing here needs torch. Every reader checks what it reads and raises `DataError`, which names the
file and the line; none of them skips a bad line or fills a gap.
"""

from lvlmsal.files.coco import CocoTruth, read_coco_objects
from lvlmsal.files.pope import PopeQuestion, read_pope_questions
from lvlmsal.files.rows import Identifier, Row, listed, normal_id, read_json_rows, read_text
from lvlmsal.files.vizwiz import (
    VizwizPrompt,
    VizwizQuestion,
    read_vizwiz_prompts,
    read_vizwiz_questions,
)

__all__ = [
    "CocoTruth",
    "Identifier",
    "PopeQuestion",
    "Row",
    "VizwizPrompt",
    "VizwizQuestion",
    "listed",
    "normal_id",
    "read_coco_objects",
    "read_json_rows",
    "read_pope_questions",
    "read_text",
    "read_vizwiz_prompts",
    "read_vizwiz_questions",
]
