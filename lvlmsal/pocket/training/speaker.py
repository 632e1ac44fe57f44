"""A pocket model that answers questions, without anything of the rest of the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

_LOADERS: Final[tuple[Any, Any, Any]] = (
    AutoModelForImageTextToText,
    AutoTokenizer,
    AutoImageProcessor,
)


class Speaker:
    """A loaded pocket model that answers questions about images, greedily and in batches.

    Args:
        folder: A transformers folder of either pocket model.
    """

    def __init__(self, folder: Path) -> None:
        """See the class."""
        # transformers leaves these calls untyped
        load_model, load_tokenizer, load_images = _LOADERS
        self.model: Any = load_model.from_pretrained(folder).eval()
        self.tokenizer: Any = load_tokenizer.from_pretrained(folder)
        self.image_processor: Any = load_images.from_pretrained(folder)
        self.image_id = int(self.model.config.image_token_id)
        self.image = self.tokenizer.convert_ids_to_tokens(self.image_id)
        self.marks = ("", "")
        if self.model.config.model_type == "idefics3":
            self.marks = ("<fake_token_around_image><global-img>", "<fake_token_around_image>")

    @property
    def tokens_per_image(self) -> int:
        """Image tokens where every image has as many."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size
        return int((side // getattr(self.model.config, "scale_factor", 1)) ** 2)

    @torch.no_grad()
    def answer(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[str],
        *,
        batch: int = 64,
        **options: Any,
    ) -> list[str]:
        """Answer one question about each image.

        Args:
            images: The images.
            questions: As many questions.
            batch: How many go through the model together.
            options: Passed on to ``generate``.

        Returns:
            The answers, as text.
        """
        answers: list[str] = []
        for start in range(0, len(images), batch):
            part = list(images[start : start + batch])
            pixels = self.image_processor([[image] for image in part], return_tensors="pt")
            if "image_grid_thw" in pixels:
                counts = (pixels["image_grid_thw"].prod(dim=1) // 4).tolist()
            else:
                counts = [self.tokens_per_image] * len(part)
            prompts = []
            for question, count in zip(questions[start : start + batch], counts, strict=True):
                content = [{"type": "image"}, {"type": "text", "text": question}]
                prompt = self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": content}],
                    tokenize=False,
                    add_generation_prompt=True,
                )
                run = (self.image * count).join(self.marks)
                prompts.append(prompt.replace(self.image, run))
            text = self.tokenizer(prompts, return_tensors="pt", padding=True)
            inputs = {"input_ids": text["input_ids"], "attention_mask": text["attention_mask"]}
            if "image_grid_thw" in pixels:
                inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.image_id).int()
            output = self.model.generate(**inputs, **pixels, **options)
            new = output[:, inputs["input_ids"].shape[1] :]
            texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
            answers += [text.strip() for text in texts]
        return answers
