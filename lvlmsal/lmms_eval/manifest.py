"""What lmms-eval is told of this package; the entry point of its group `lmms_eval.models`.

One package that cannot be imported there takes all others with it, so nothing is imported before
the function is called.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """The name `lvlmsal` and where its classes are, as a `ModelManifest` of lmms-eval."""
    from lmms_eval.models.registry_v2 import ModelManifest

    models = "lvlmsal.lmms_eval.models"
    return ModelManifest(
        model_id="lvlmsal",
        simple_class_path=f"{models}.SimpleModel",
        chat_class_path=f"{models}.ChatModel",
    )
