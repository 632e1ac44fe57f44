"""Idefics3 and SmolVLM: one square image size, rows of images padded by images of zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.image_rows import padded_rows, shown
from lvlmsal.adapters.processors import ImageOnlySmolVLMProcessor
from lvlmsal.adapters.spans import Interval, TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("Idefics3ForConditionalGeneration")
class Idefics3Adapter(ModelAdapter):
    """Idefics3, with images that are not split: each is scaled to one square."""

    architectures = ("Idefics3ForConditionalGeneration",)
    family = "Idefics3"
    summary = "Idefics3: one square for each image, patches merged in blocks; no split images"
    paper = "Building and better understanding vision-language models (Idefics3)"
    url = "https://arxiv.org/abs/2408.12637"
    pads_images = True

    @property
    def tokens_per_image(self) -> int:
        """Patches of the tower's input, merged in blocks of `scale_factor` a side."""
        rows, columns = self._grid()
        return rows * columns

    def spans(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_start: int | None = None,
    ) -> list[TokenSpans]:
        """Read the spans off the ids; see the base class.

        Raises:
            UnsupportedError: An image was split into tiles, each with a run of tokens of its own.
        """
        found = super().spans(input_ids, attention_mask, output_start=output_start)
        for number, (row, sample) in enumerate(zip(input_ids.tolist(), found, strict=True)):
            for start, end in sample.between:
                text = row[sample.pad + start : sample.pad + end]
                # The token that closes an image opens the next one, too; tiles share it.
                if text.count(text[0]) == 1:
                    raise UnsupportedError(
                        f"sample {number} has an image that was split into tiles, each with visual "
                        "tokens of its own, and no spans of such images are known: turn that off "
                        "with processor.image_processor.do_image_splitting = False, or with "
                        '"do_image_splitting": false in its preprocessor_config.json'
                    )
        return found

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """From the token that opens an image, and closes it, to that behind it; see the base class.

        What stands between that token and the image (`<global-img>`) is several tokens in some
        vocabularies.
        """
        start, end = image
        for before in range(start - 1, -1, -1):
            if ids[before] in self.image_token_ids:
                break
            if end < len(ids) and ids[before] == ids[end]:
                return before, end + 1
        return image

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Check that the processor wrote as many placeholders as the model makes visual tokens.

        `pixel_attention_mask` is left out: images that were scaled to the square are seen in full.

        Raises:
            UnsupportedError: It did not; or images are of another size, or not seen in full.
        """
        found = {name: value for name, value in inputs.items() if name != "pixel_attention_mask"}
        if "pixel_values" not in inputs:
            return found
        pixels, seen = inputs["pixel_values"], inputs.get("pixel_attention_mask")
        real = shown(pixels) if seen is None else shown(seen)
        counts = real.sum(-1).tolist()
        written = (inputs["input_ids"] == self.model.config.image_token_id).sum(-1).tolist()
        side = self.model.config.vision_config.image_size
        size, wanted = tuple(pixels.shape[-2:]), [self.tokens_per_image * n for n in counts]
        self.spans(inputs["input_ids"], inputs.get("attention_mask"))  # refuses split images
        if size != (side, side) or written != wanted or not (seen is None or seen[real].all()):
            raise UnsupportedError(
                f"the processor wrote {written} placeholders for {counts} image(s) of {size[0]} x "
                f"{size[1]} pixels, and the model makes {self.tokens_per_image} visual tokens of "
                f"{side} x {side} pixels. Set in the processor: image_seq_len="
                f"{self.tokens_per_image}, and in its image_processor: "
                f"max_image_size={{'longest_edge': {side}}}, do_image_splitting=False"
            )
        return {**found, "pixel_values": padded_rows(list(pixels[real]), counts)}

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """Every image has the grid of the tower, merged; see the base class."""
        return [self._grid() for sample in spans for _ in sample.images]

    def _grid(self) -> tuple[int, int]:
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size // self.model.config.scale_factor
        return (side, side)


@ADAPTERS.register("SmolVLMForConditionalGeneration")
class SmolVLMAdapter(Idefics3Adapter):
    """SmolVLM and SmolVLM2: Idefics3 at a smaller size; videos are images among text."""

    architectures = ("SmolVLMForConditionalGeneration",)
    family = "SmolVLM"
    summary = "SmolVLM and SmolVLM2: as Idefics3, smaller"
    paper = "SmolVLM: Redefining small and efficient multimodal models"
    url = "https://arxiv.org/abs/2504.05299"
    image_only_processor = ImageOnlySmolVLMProcessor
