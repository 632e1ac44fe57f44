"""What methods have in common that are fitted beforehand, in one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.fits.folder import Fit, fit_of, read_fits, shipped_fits
from lvlmsal.fits.states import Position
from lvlmsal.fits.statistics import PairStatistics
from lvlmsal.interventions.base import Intervention
from lvlmsal.registry import INTERVENTIONS, check_choices, options_of

RANDOM: Final = {"fit": None, "random": 0}
"""Options that draw a fit for any model, for the test kit and dry runs."""


@dataclass(frozen=True)
class FittedIntervention(Intervention):
    """Base of methods that ``lvlmsal fit METHOD`` fits on pairs of a right and a wrong answer.

    Args:
        fit: folder that ``lvlmsal fit`` wrote, for one model or with a folder for each; that of
            another model is refused. ``"shipped"`` are the fits of the shipped models.
        random: a control: in place of a fit, one that is drawn with this seed.
        allow_overlap: whether images of the fit may be asked about in an evaluation, which is an
            error otherwise; the tables then say so.

    Attributes:
        fit_options: options by which the fit is another one. What it was made with must be what is
            asked for.
    """

    fit: str | None = None
    random: int | None = None
    allow_overlap: bool = False

    fit_options: ClassVar[tuple[str, ...]] = ()
    _held: ClassVar[Mapping[int, Tensor]] = {}

    def __post_init__(self) -> None:
        if self.fit is not None and self.random is not None:
            raise ValueError(f"random={self.random} stands in place of a fit: leave fit out")
        check_choices(self)

    @property
    def reads(self) -> Position:
        """Which rows of an answer a fit looks at."""
        raise NotImplementedError(f"{type(self).__name__} does not say which rows it is fitted on")

    def statistics(self) -> PairStatistics:
        """What a fit adds up, empty."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it is fitted to")

    def held(self, layer: int) -> Tensor:
        """What :meth:`of_layer` has made for a layer where it acts, float32, on its device."""
        return self._held[layer]

    def of_layer(self, tensors: Mapping[str, Tensor], layer: int) -> Tensor:
        """What the edit of a layer needs of a fit.

        Raises:
            UnsupportedError: the fit does not hold so much.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it takes from a fit")

    def drawn(self, layers: int, width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The tensors of a fit that knows nothing, for a model of so many layers of a width."""
        raise NotImplementedError(f"{type(self).__name__} has no control")

    def fits(self) -> dict[Path, Fit]:
        """The fits of the folder; none where it is off, or drawn.

        Raises:
            DataError: They cannot be read.
        """
        if self.fit is None or self.is_identity:
            return {}
        shipped = self.fit == "shipped"
        folder = shipped_fits(str(self.name)) if shipped else Path(self.fit)
        return read_fits(folder, str(self.name))

    def bind(self, num_layers: int) -> Self:
        """A copy for a model of so many layers; its fit is read when it meets the model."""
        if self.fit is None and self.random is None and not self.is_identity:
            raise ConfigError(
                [
                    f"intervention {self.name!r} needs a fit: type  lvlmsal fit {self.name} CONFIG "
                    "-o FOLDER  and give fit=FOLDER; random=SEED draws one, as a control"
                ]
            )
        return super().bind(num_layers)

    def meet(self, adapter: ModelAdapter) -> None:
        """Read the model's fit, or draw one.

        Raises:
            DataError: The fit cannot be read.
            UnsupportedError: There is none for this model, or it was made with other options.
        """
        depth, width = adapter.num_layers, int(adapter.text_config.hidden_size)
        if fits := self.fits():
            place, fit = fit_of(adapter, fits)
            asked = options_of(self)
            for name in self.fit_options:
                if fit.options.get(name) != asked[name]:
                    raise UnsupportedError(
                        f"{place} was fitted with {name}={fit.options.get(name)!r}, and "
                        f"{name}={asked[name]!r} is asked for: fit it once more, or ask for that"
                    )
            tensors = fit.tensors(place)
        else:
            generator = torch.Generator().manual_seed(self.random or 0)
            tensors = self.drawn(depth, width, generator)
        held = {}
        for layer in filter(self.applies_to, range(depth)):
            device = next(adapter.layers[layer].parameters()).device
            held[layer] = self.of_layer(tensors, layer).float().to(device)
        object.__setattr__(self, "_held", held)


def fitted_methods() -> list[str]:
    """Names of the registered methods that can be fitted."""
    return [n for n in INTERVENTIONS if issubclass(INTERVENTIONS.get(n), FittedIntervention)]
