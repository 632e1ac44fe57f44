"""What every adapter can do, over the accessors that all families of transformers share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS, ImageLike
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.processors import own_processor
from lvlmsal.adapters.prompts import append_tokens, build_inputs, token_texts
from lvlmsal.adapters.spans import Interval, TokenSpans, find_spans
from lvlmsal.adapters.unwrapping import check_generate
from lvlmsal.errors import UnsupportedError

GUIDE = "docs/contributing/adapter.md"


class ModelAdapter(ABC):
    """Knows one family of models: where its parts are, and how images and prompts become tokens.

    A family whose parts answer to the generic accessors of transformers (`get_decoder`,
    `get_output_embeddings`, `get_encoder`) needs no more than :meth:`image_grids`.

    Args:
        model: A model with weights, on any device.
        processor: Needed by :meth:`encode`, :meth:`decode` and :meth:`token_texts`.

    Raises:
        UnsupportedError: The model has no text decoder with layers where this family keeps it, or a
            ``generate`` that runs another model.
    """

    name: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    image_only_processor: ClassVar[type[ProcessorMixin] | None] = None
    """What stands in where the processor of transformers cannot be built for its video part."""
    wraps_images: ClassVar[bool] = False
    """Whether a mark stands before the visual tokens of each image, and one behind them."""
    pads_images: ClassVar[bool] = False
    """Whether `pixel_values` has a row of images, of `tokens_per_image` each, for each sample."""

    attention_name: ClassVar[str] = "self_attn"
    """What a decoder layer calls its self-attention."""

    max_image_pixels: int = MAX_IMAGE_PIXELS  # images of more pixels are refused

    def __init__(self, model: PreTrainedModel, processor: Any | None = None) -> None:
        check_generate(model)
        self.model = model
        self.processor = processor
        if not self.layers or len(self.attention_modules) != self.num_layers:
            raise UnsupportedError(
                f"{type(self).__name__} found no decoder layers with `{self.attention_name}` in "
                f"{type(model).__name__}; see {GUIDE}"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.model).__name__}, {self.num_layers} layers)"

    @property
    def decoder(self) -> nn.Module:
        """The text decoder, without the output projection."""
        # transformers leaves its accessors without types
        return cast(nn.Module, cast(Any, self.model).get_decoder())

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of the text decoder, first to last."""
        return list(getattr(self.decoder, "layers", ()))

    @property
    def attention_modules(self) -> list[nn.Module]:
        """The self-attention of each layer; the index is the module's `layer_idx`."""
        modules = (getattr(layer, self.attention_name, None) for layer in self.layers)
        return [module for module in modules if isinstance(module, nn.Module)]

    @property
    def num_layers(self) -> int:
        """Depth of the text decoder."""
        return len(self.layers)

    @property
    def lm_head(self) -> nn.Module:
        """The projection from hidden states to logits."""
        return cast(nn.Module, cast(Any, self.model).get_output_embeddings())

    @property
    def vision_tower(self) -> nn.Module:
        """The image encoder."""
        return cast(nn.Module, self.model.get_encoder(modality="image"))

    @property
    def text_config(self) -> Any:
        """The configuration of the text decoder; the very object that the decoder holds."""
        return self.model.config.get_text_config()

    @property
    def image_token_ids(self) -> tuple[int, ...]:
        """Ids that stand for visual tokens: of images and, where the family has them, of videos."""
        names = ("image_token_id", "video_token_id")
        ids = (getattr(self.model.config, name, None) for name in names)
        return tuple(int(value) for value in ids if value is not None)

    @property
    def attention(self) -> str:
        """Name of the attention implementation that the text decoder uses."""
        return str(self.text_config._attn_implementation)

    def set_attention(self, name: str) -> None:
        """Choose the attention implementation of the text decoder; the vision tower keeps its own.

        The choice lives on the configuration object: models built from one and the same object
        share it.

        Args:
            name: One of transformers' own (``"eager"``, ``"sdpa"``) or a registered one.

        Raises:
            UnsupportedError: The choice did not take.
        """
        # transformers ignores a sub-config of another name without a word, hence the check.
        self.model.set_attn_implementation({self._attention_key(): name})
        if self.attention != name:
            raise UnsupportedError(
                f"{type(self.model).__name__} did not take the attention {name!r}: "
                f"its text decoder still uses {self.attention!r}"
            )

    def _attention_key(self) -> str:
        """Name of the sub-configuration of the text decoder; empty where there is none."""
        return "text_config" if "text_config" in self.model.config.sub_configs else ""

    def spans(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_start: int | None = None,
    ) -> list[TokenSpans]:
        """Read off where system prompt, images, question and output of each sample stand.

        Args:
            input_ids: Shape (B, L), placeholders expanded.
            attention_mask: Shape (B, L) or that of the prompt; None: no padding.
            output_start: Column of the first generated token; None: nothing is generated yet.

        Returns:
            One entry for each row.

        Raises:
            LvlmsalError: Padding that is not at the left.
        """
        return find_spans(
            input_ids,
            attention_mask,
            self.image_token_ids,
            output_start=output_start,
            split=self.tokens_per_image,
        )

    @property
    def tokens_per_image(self) -> int | None:
        """Visual tokens of an image, where they are the same for every image; else None.

        It tells images apart that touch one another.
        """
        return None

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """Where an image stands with the marks around it; `ids` are the sample's, unpadded."""
        wrap = int(self.wraps_images)
        return max(0, image[0] - wrap), image[1] + wrap

    def encode(
        self,
        images: Sequence[Sequence[ImageLike]],
        prompts: Sequence[Prompt],
        *,
        template: bool = True,
    ) -> dict[str, Tensor]:
        """Turn images and questions into the inputs of `model.generate`, padded at the left.

        Args:
            images: The images of each sample.
            prompts: The question of each sample, or messages. The chat template puts the images in
                front of it; a prompt that holds the placeholder keeps it where it is.
            template: False takes each prompt as it is, placeholders and turn marks included.

        Returns:
            Tensors on the model's device, those of pixels in its dtype.

        Raises:
            LvlmsalError: As `lvlmsal.adapters.prompts.build_inputs` does.
        """
        processor, limit = self.require_processor(), self.max_image_pixels
        made = build_inputs(processor, images, prompts, template=template, max_pixels=limit)
        return self.place(made)

    def place(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Complete inputs, drop what the model does not take, move them to its device and dtype."""
        accepted = set(inspect.signature(type(self.model).forward).parameters)
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in self.complete(dict(inputs)).items()
            if name in accepted
        }

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add inputs that the model needs and that a processor may leave out."""
        return inputs

    def append(self, inputs: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
        """Add text tokens behind a prompt, for a pass over prompt and answer at once.

        Args:
            inputs: Of the prompt, as from :meth:`encode`; what is not text is shared with them.
            ids: Token ids, shape (B, n).
        """
        return append_tokens(self.model, inputs, ids)

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Text of generated ids, shape (n,), without special tokens."""
        numbers = [int(token) for token in ids]
        text: str = self.tokenizer.decode(
            numbers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token_texts(self, ids: Tensor | Sequence[int]) -> list[str]:
        """Text of each id, special tokens included; joined, the text of them all.

        A character whose bytes are spread over several tokens belongs to the last of them.
        """
        return token_texts(self.tokenizer, [int(token) for token in ids])

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        processor = self.require_processor()
        return getattr(processor, "tokenizer", processor)

    def require_processor(self) -> Any:
        """The processor, or that of the model's folder; raises UnsupportedError without either."""
        if self.processor is None:
            self.processor = own_processor(self.model, self.image_only_processor)
        return self.processor

    @abstractmethod
    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        """Grid of the visual tokens of every image of a batch.

        Args:
            inputs: As from :meth:`encode`.
            spans: Of these inputs.

        Returns:
            (rows, columns) of each image, sample by sample, in the order of the sequence.
        """

    def panels(self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]) -> list[int]:
        """How many tiles or frames are stacked in the grid of each image of a batch."""
        return [1 for sample in spans for _ in sample.images]

    def patch_grids(self, inputs: Mapping[str, Tensor], row: int) -> list[tuple[int, int]]:
        """Grid of the visual tokens of each image of one sample, to draw a map over the image.

        Args:
            inputs: As from :meth:`encode`.
            row: Of the sample in the batch.

        Returns:
            (rows, columns) of each image; their product is the length of its interval. Several
            tiles or frames are stacked, one below the other.

        Raises:
            UnsupportedError: The visual tokens of an image are no grid.
        """
        spans = self.spans(inputs["input_ids"], inputs.get("attention_mask"))
        grids = self.image_grids(inputs, spans)
        first = sum(len(sample.images) for sample in spans[:row])
        mine = grids[first : first + len(spans[row].images)]
        lengths = [end - start for start, end in spans[row].images]
        if [rows * columns for rows, columns in mine] != lengths:
            raise UnsupportedError(
                f"sample {row} has images of {lengths} visual tokens, which are not grids {mine}"
            )
        return mine
