"""A model in memory, and what is built for it: decoders, interventions and detectors."""

from __future__ import annotations

from transformers import PreTrainedModel

from lvlmsal.adapters import Loaded
from lvlmsal.decoders.base import Decoder
from lvlmsal.detection.judge import DetectorSpec, Judge, make_judge
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.components import Spec, build
from lvlmsal.registry import DECODERS, INTERVENTIONS


class LoadedModel:
    """A loaded model, its processor and its adapter; see :class:`~lvlmsal.model.lvlm.Lvlm`."""

    def __init__(self, loaded: Loaded) -> None:
        self.model: PreTrainedModel = loaded.model
        self.processor = loaded.processor
        self.adapter = loaded.adapter
        self.card = loaded.card

    def __repr__(self) -> str:
        name = self.card.name if self.card is not None else type(self.model).__name__
        return f"Lvlm({name}, {self.adapter.num_layers} layers, {self.model.device})"

    def build_decoder(self, spec: Decoder | Spec) -> Decoder:
        """A decoder from its name and options, on top of the checkpoint's own defaults."""
        if isinstance(spec, Decoder):
            return spec
        return build(DECODERS, spec, self.card, self.model, stacklevel=3)

    def build_intervention(self, spec: Intervention | Spec) -> Intervention:
        """An intervention from its name and options, on top of the checkpoint's own defaults."""
        if isinstance(spec, Intervention):
            return spec
        return build(INTERVENTIONS, spec, self.card, self.model, stacklevel=3)

    def build_judge(self, spec: DetectorSpec) -> Judge:
        """A detector from its name and options, with the scaling that goes with this model.

        Args:
            spec: see :meth:`~lvlmsal.model.lvlm.Lvlm.detect`.
        """
        return make_judge(spec, self.adapter, stacklevel=3)
