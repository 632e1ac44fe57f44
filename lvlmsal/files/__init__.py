"""Readers of the files that benchmarks and metrics share.

Nothing here needs torch. Every reader checks what it reads and raises `DataError`, which names the
file and the line; none of them skips a bad line or fills a gap.
"""

from lvlmsal.files.amber import (
    AMBER_DIMENSIONS,
    AmberItem,
    AmberQuery,
    read_amber_annotations,
    read_amber_queries,
    read_amber_relation,
    read_amber_responses,
    read_amber_safe_words,
    unknown_amber_words,
)
from lvlmsal.files.answers import answer_texts, words_of
from lvlmsal.files.coco import CocoTruth, read_coco_captions, read_coco_objects
from lvlmsal.files.mme import (
    MME_COGNITION,
    MME_PERCEPTION,
    MME_TASKS,
    MmeQuestion,
    mme_folder,
    mme_tasks,
    read_mme_questions,
    read_mme_results,
)
from lvlmsal.files.pope import PopeQuestion, read_pope_questions
from lvlmsal.files.rows import Identifier, Row, listed, normal_id, read_json_rows, read_text
from lvlmsal.files.scienceqa import ScienceqaProblem, read_scienceqa
from lvlmsal.files.vizwiz import (
    VizwizPrompt,
    VizwizQuestion,
    read_vizwiz_prompts,
    read_vizwiz_questions,
)

__all__ = [
    "AMBER_DIMENSIONS",
    "MME_COGNITION",
    "MME_PERCEPTION",
    "MME_TASKS",
    "AmberItem",
    "AmberQuery",
    "CocoTruth",
    "Identifier",
    "MmeQuestion",
    "PopeQuestion",
    "Row",
    "ScienceqaProblem",
    "VizwizPrompt",
    "VizwizQuestion",
    "answer_texts",
    "listed",
    "mme_folder",
    "mme_tasks",
    "normal_id",
    "read_amber_annotations",
    "read_amber_queries",
    "read_amber_relation",
    "read_amber_responses",
    "read_amber_safe_words",
    "read_coco_captions",
    "read_coco_objects",
    "read_json_rows",
    "read_mme_questions",
    "read_mme_results",
    "read_pope_questions",
    "read_scienceqa",
    "read_text",
    "read_vizwiz_prompts",
    "read_vizwiz_questions",
    "unknown_amber_words",
    "words_of",
]
