"""The function that stands in place of `generate` of a base's model while a method is on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from lvlmsal.attention import intervene
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.decoders.search import Beam, Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.lmms_eval.documents import Documents
from lvlmsal.lmms_eval.options import Options
from lvlmsal.lmms_eval.records import RecordFile
from lvlmsal.model.generation import until_end, whole_cache
from lvlmsal.model.loading import load
from lvlmsal.versions import CACHE, given_cache

_CHOICE = ("do_sample", "num_beams", "temperature", "top_p", "top_k", "num_return_sequences")
"""What a task says of how tokens are chosen, and a decoder says in its place."""


class Stopped(BaseException):
    """Ends a base's loop at the first failure: no `Exception`, since bases take these for answers.

    Args:
        error: What has failed.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Method:
    """A method on the model of a base.

    Args:
        model: What the base calls ``generate`` of.
        processor: Of the base.
        options: What was asked for.

    Attributes:
        documents: Looked up by the base for these requests.
        records: Where token records of their answers go.
        failure: The first thing that went wrong.

    Raises:
        LvlmsalError: No adapter for the model, options that its checkpoint cannot have, or parts
            that do not go together.
    """

    documents: Documents
    records: RecordFile | None = None

    def __init__(self, model: nn.Module, processor: Any, options: Options) -> None:
        lvlm = load((model, processor))
        self.adapter = lvlm.adapter
        self.edits: list[Intervention] = [
            lvlm.build_intervention(edit) for edit in options.interventions
        ]
        self.decoder: Decoder | None = None
        if options.decoder is not None:
            self.decoder = lvlm.build_decoder(options.decoder)
            check_combination(self.decoder, self.edits)
            self.decoder = self.decoder.bind(self.adapter)
        else:
            check_combination(Greedy(), self.edits)
        self.seed = options.seed
        self.failure: BaseException | None = None
        outer: Any = model
        outer.generate = self.generate

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """What the base calls; see :meth:`_generate`.

        Raises:
            Stopped: Anything was raised.
        """
        try:
            return self._generate(*args, **kwargs)
        except BaseException as error:
            self.failure = self.failure or error
            raise Stopped(error) from error

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the base with those of the decoder in their place, in a scope."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        if not isinstance(ids, Tensor):
            raise UnsupportedError(
                "the base calls generate without input_ids, so the places of image tokens are not "
                "known: take a base that hands its processor's inputs to generate, such as "
                "llava_hf, qwen2_vl or qwen2_5_vl"
            )
        places = self.documents.take(len(ids))
        chosen = dict(kwargs)
        if self.decoder is not None:
            self._replace(chosen, self.decoder)
            chosen |= self.decoder.generate_kwargs(
                seed=self.seed, sample_ids=[place.sample_id for place in places]
            )
        else:
            beams = int(kwargs.get("num_beams") or 1)
            check_combination(Greedy() if beams == 1 else Beam(num_beams=beams), self.edits)
        if self.edits and chosen.get("use_cache", True) and given_cache(chosen) is None:
            cache = whole_cache(self.adapter)
            chosen |= {} if cache is None else {CACHE: cache}
        generative: Any = type(self.adapter.model)  # of the class: the instance's is this one
        scope = intervene(self.adapter, *self.edits) if self.edits else nullcontext()
        with scope:
            output = generative.generate(
                self.adapter.model, *args, **{**chosen, "return_dict_in_generate": True}
            )
        if self.records is not None:
            new = output.sequences[:, ids.shape[1] :].tolist()
            kept: Sequence[Sequence[TokenRecord]] = getattr(output, "records", None) or [
                [TokenRecord(id=token) for token in until_end(self.adapter, row)] for row in new
            ]
            for place, tokens in zip(places, kept, strict=True):
                self.records.write(self.adapter, place, tokens)
        return output if kwargs.get("return_dict_in_generate") else output.sequences

    def _replace(self, chosen: dict[str, Any], decoder: Decoder) -> None:
        """Take out what the task says of how tokens are chosen, and say so once if it did."""
        told = {name: chosen.pop(name, None) for name in _CHOICE}
        beams = told["num_beams"] or 1
        if (told["do_sample"] or beams > 1) and not self._has_told:
            self._has_told = True
            warnings.warn(
                f"the task asks for do_sample={bool(told['do_sample'])} and num_beams={beams}; the "
                f"decoder {decoder.name!r} chooses the tokens in place of that",
                stacklevel=2,
            )

    _has_told = False
