"""What the shipped models answer by every method, for a comparison between versions.

    python tools/answers.py answers.json

Two questions of different length about a drawn picture are asked as one padded batch, then one of
them again for its diagnosis. The file holds tokens, S and tau of SGRS, and S of the diagnosis.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from lvlmsal.errors import UnsupportedError
from lvlmsal.model.answer import Answer
from lvlmsal.model.loading import load
from lvlmsal.pocket import POCKET
from lvlmsal.registry import DECODERS, INTERVENTIONS

QUESTIONS = ("Is there a ball in the image?", "Describe this image in detail.")
NAMED = ("transformers", "numpy", "pillow", "torchmetrics", "lightning", "omegaconf", "torch")
LENGTH = 12


def picture() -> Image.Image:
    """Two shapes with straight edges, which every Pillow draws alike."""
    image = Image.new("RGB", (96, 96), (205, 220, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((8, 50, 47, 87), fill=(200, 40, 30))
    draw.polygon([(60, 80), (90, 80), (75, 20)], fill=(30, 90, 180))
    return image


def methods() -> dict[str, dict[str, Any]]:
    """Name -> options of ``generate``: decoders as they are, interventions so that they act."""
    found: dict[str, dict[str, Any]] = {
        name: {"decoder": {"name": name, **DECODERS.get(name).strong}}
        for name in DECODERS.names()
        if name != "greedy"
    }
    found["sgrs candidate"] = {"decoder": {"name": "sgrs", "row": "candidate"}}
    found["sgrs predicting"] = {"decoder": {"name": "sgrs", "row": "predicting"}}
    for name in INTERVENTIONS.names():
        found[name] = {"interventions": [{"name": name, **INTERVENTIONS.get(name).strong}]}
    return found


def told(answer: Answer) -> dict[str, Any]:
    """What is compared of an answer."""
    numbers = [
        [value for value in (record.saliency, record.threshold) if value is not None]
        for record in answer.tokens
    ]
    return {"tokens": answer.token_ids, "numbers": numbers}


def main() -> None:
    """Write the file that is named on the command line."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for checkpoint in sorted(POCKET):
        lvlm, image = load(checkpoint), picture()
        for name, options in methods().items():
            try:
                answers = lvlm.generate(
                    [image] * len(QUESTIONS), QUESTIONS, max_new_tokens=LENGTH, **options
                )
            except UnsupportedError as error:  # a method that is not for this family
                found[f"{checkpoint}: {name}"] = {"refused": str(error)}
                continue
            found[f"{checkpoint}: {name}"] = [told(answer) for answer in answers]
        report = answers[0].diagnose()
        found[f"{checkpoint}: diagnosis"] = {
            "tokens": report.token_ids,
            "numbers": report.saliency,
        }
    versions = {name: version(name) for name in NAMED}
    Path(sys.argv[1]).write_text(json.dumps({"versions": versions, "answers": found}, indent=1))


if __name__ == "__main__":
    main()
