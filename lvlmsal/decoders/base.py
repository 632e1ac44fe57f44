"""What a decoder is: options that turn into keyword arguments of ``model.generate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.layers import LayerSpec, resolve_layers
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.saliency.options import SaliencyOptions

_KEPT = ("output_attentions", "output_hidden_states", "output_logits", "output_scores")


def check_outputs(
    config: GenerationConfig, decoder: str, why: str, *, returned: Sequence[str] = ()
) -> None:
    """Refuse options of ``generate`` about what a loop of its own does not return.

    Args:
        config: of the call.
        decoder: its name.
        why: it does not return them.
        returned: what it does return.

    Raises:
        UnsupportedError: it was asked for something else.
    """
    asked = [name for name in _KEPT if getattr(config, name, None) and name not in returned]
    if asked and config.return_dict_in_generate:
        raise UnsupportedError(
            f"{decoder} does not return what {', '.join(asked)} ask{'s' * (len(asked) == 1)} for, "
            f"since {why}: leave {'it' if len(asked) == 1 else 'them'} out"
        )


def check_one_sequence(config: GenerationConfig, decoder: str, beams: int = 1) -> None:
    """Refuse other beams and several answers to a question, for a loop that writes one.

    Args:
        config: of the call.
        decoder: its name.
        beams: that the loop follows.

    Raises:
        UnsupportedError: they were asked for.
    """
    if (config.num_beams or 1) != beams or (config.num_return_sequences or 1) > 1:
        followed = "one sequence" if beams == 1 else f"{beams} sequences"
        raise UnsupportedError(
            f"{decoder} follows {followed} a sample and returns one: call generate with "
            f"num_beams={beams} and num_return_sequences=1"
        )


class Decoder:
    """Base of everything in the ``decoders`` registry. Subclasses are dataclasses.

    A decoder does not own a loop: it says with which arguments transformers' ``generate`` is to be
    called. One that needs a loop of its own passes itself as ``custom_generate``, so that logits
    processors, stopping criteria and the generation config stay transformers' own.

    Attributes:
        name: set by the registry.
        summary: one line for listings.
        paper: title and year of the source.
        url: where to read it.
        is_beam: whether several hypotheses of a sample are decoded side by side.
        uses_saliency: whether it records attention, so that interventions must allow it.
        sees_images: whether its loop looks at the images as they were before processing, or has
            others processed: it is then called with ``asked``, an
            :class:`~lvlmsal.attention.asked.Asked`, wherever the library knows them.
        shares_prefix: whether it can go on from a cache that holds the beginning of its prompts, so
            that questions about one image share the keys and values of the image.
        num_beams: hypotheses that it keeps of each sample.
        greedy_options: options under which it is greedy search, token for token, for the test kit;
            None where there are none.
        strong: options under which it decodes with any model, a random one too, and changes what is
            said; for the test kit and dry runs.
        model_defaults: options by checkpoint, see :class:`~lvlmsal.interventions.Intervention`.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    is_beam: ClassVar[bool] = False
    uses_saliency: ClassVar[bool] = False
    sees_images: ClassVar[bool] = False
    shares_prefix: ClassVar[bool] = False
    greedy_options: ClassVar[Mapping[str, Any] | None] = None
    strong: ClassVar[Mapping[str, Any]] = {}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    num_beams: int = 1

    @property
    def mitigates(self) -> bool:
        """Whether it does something against hallucinations, and so has a control that does not."""
        return False

    @property
    def is_random(self) -> bool:
        """Whether its answers depend on the seed; one that does not is run with one seed only."""
        return True

    def twin(self) -> Decoder:
        """The same decoding with nothing done against hallucinations: what it is compared with.

        Two decoders whose twins are equal decode alike but for what they do against hallucinations.
        """
        return self

    @property
    def layers_read(self) -> LayerSpec:
        """Layers that it reads, of which a model must have all that are named."""
        saliency = self.saliency_options()
        return None if saliency is None else saliency.layers

    def bind(self, adapter: ModelAdapter) -> Self:
        """A copy that is fitted to a model; the library calls it before `generate_kwargs`.

        Raises:
            LvlmsalError: it cannot decode with this model.
        """
        try:
            resolve_layers(self.layers_read, len(adapter.layers))
        except ValueError as error:
            raise ConfigError([f"decoder {self.name!r}: {error}"]) from error
        return self

    def outside(self) -> dict[str, Any]:
        """What answers depend on besides the options, for records of a run.

        Returns:
            By the name of an option which version answers of what it asks outside of the model.
        """
        return {}

    def saliency_options(self) -> SaliencyOptions | None:
        """The saliency that it judges tokens by; ``None`` where it computes none."""
        return None

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """Arguments for ``model.generate(**inputs, **these)``.

        Args:
            seed: of the run. Random numbers depend on it, on the sample's id and on the position,
                never on the batch, so that a run gives the same answers whatever its batch size.
            sample_ids: one for each sample; the row's number where none is given.
            streamer: told each token as it is chosen (one sample at a time, as in transformers).
        """
        raise TypeError(
            f"{type(self).__name__} does not say how it decodes: define generate_kwargs"
        )
