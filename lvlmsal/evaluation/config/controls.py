"""What each method is compared with: the explicit baseline, or its own twin.

The twin of a method decodes alike (decoder, sampling options, seed, model and so attention
implementation) and does nothing against hallucinations: no interventions, and the twin of its
decoder (`lvlmsal.decoders.base.Decoder.twin`) in place of one that is itself a mitigation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf.errors import OmegaConfBaseException

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.check import build_component
from lvlmsal.evaluation.config.checkpoints import card_of
from lvlmsal.evaluation.config.schema import MethodConfig, RunConfig
from lvlmsal.evaluation.config.unresolved import below, resolve, unresolved
from lvlmsal.registry import DECODERS, options_of

if TYPE_CHECKING:
    from lvlmsal.decoders.base import Decoder
    from lvlmsal.saliency.options import RowName


@dataclass(frozen=True)
class Way:
    """How a method answers.

    Attributes:
        method: Its name.
        decoder: Its decoder.
        edited: Whether interventions are active.
    """

    method: str
    decoder: Decoder
    edited: bool

    @property
    def plain(self) -> bool:
        """Whether nothing is done against hallucinations, so that it can be a twin."""
        return not self.edited and not self.decoder.mitigates


@dataclass(frozen=True)
class Opponent:
    """What a method is compared with.

    Attributes:
        method: Name of the other method.
        decoder_differs: Whether the two decode differently besides what is done against
            hallucinations, so that their difference shows that too.
    """

    method: str
    decoder_differs: bool


def find_twin(way: Way, ways: Sequence[Way]) -> Way | None:
    """The first plain way that decodes as `way` does; a plain one is compared with earlier ones.

    Example:
        >>> from lvlmsal.decoders.search import Greedy
        >>> greedy, edited = Way("a", Greedy(), False), Way("b", Greedy(), True)
        >>> find_twin(edited, [greedy, edited]).method
        'a'
        >>> find_twin(greedy, [greedy, edited]) is None
        True
    """
    alike = [w for w in ways if w.plain and w.decoder.twin() == way.decoder.twin()]
    return alike[0] if alike and alike[0] != way else None


def opponents(
    settings: Iterable[Mapping[str, Any]], baseline: str
) -> dict[tuple[str, str], Opponent | None]:
    """What each model's methods are compared with.

    Args:
        settings: The settings of the run's cells (`lvlmsal.evaluation.config.plan.Cell.shown`).
        baseline: The method that all others are compared with; empty for each one's twin.

    Returns:
        By model and method: None where the run lacks the twin, no entry for the baseline itself and
        for a method that does nothing against hallucinations.

    Raises:
        ConfigError: A decoder is not registered: its plugin is missing.
    """
    by_model: dict[str, dict[str, Way]] = {}
    for entry in settings:
        ways = by_model.setdefault(entry["model"]["name"], {})
        if entry["method"] not in ways:
            ways[entry["method"]] = way_of(entry)
    found: dict[tuple[str, str], Opponent | None] = {}
    for model, ways in by_model.items():
        for name, way in ways.items():
            other = ways.get(baseline) if baseline else find_twin(way, list(ways.values()))
            if other is None and not baseline and not way.plain:
                found[model, name] = None
            elif other is not None and other is not way:
                differs = other.decoder.twin() != way.decoder.twin()
                found[model, name] = Opponent(other.method, differs)
    return found


def saliency_rows(settings: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], RowName]:
    """From which row those methods read saliency that choose tokens by it, by model and method.

    Two methods of one name (SGRS, say) can read different ones, so results tell it.

    Args:
        settings: The settings of the run's cells, as in `opponents`.

    Raises:
        ConfigError: A decoder is not registered: its plugin is missing.
    """
    found: dict[tuple[str, str], RowName] = {}
    for entry in settings:
        decoder = way_of(entry).decoder
        options = decoder.saliency_options() if decoder.mitigates else None
        if options is not None:
            found[entry["model"]["name"], entry["method"]] = options.row
    return found


def way_of(settings: Mapping[str, Any]) -> Way:
    """How the method of a cell answers.

    Args:
        settings: The cell's settings, as ``environment.json`` keeps them.

    Raises:
        ConfigError: The decoder is not registered: its plugin is missing; or an option takes
            a variable of the environment that is not set.
    """
    try:
        options, _ = resolve(settings["decoder"])
    except OmegaConfBaseException as error:
        raise ConfigError([f"{settings['method']}: {str(error).splitlines()[0]}"]) from None
    decoder = DECODERS.build(options.pop("name"), **options)
    return Way(settings["method"], decoder, bool(settings["interventions"]))


def add_twins(config: RunConfig) -> None:
    """Give a checked config the twins that its methods lack, as methods at its end.

    A checkpoint's card can change a decoder's options, so models may need different twins.
    """
    for model in config.models:
        card = card_of(model)

        def way(method: MethodConfig, card: Any = card) -> Way:
            decoder = build_component(DECODERS, method.decoder, card)
            return Way(method.name, decoder, bool(method.interventions))

        for method in list(config.methods):
            mine = way(method)
            if mine.plain or find_twin(mine, [way(m) for m in config.methods]) is not None:
                continue
            twin = mine.decoder.twin()
            entry = {"name": twin.name, **options_of(twin)}
            place = ("methods", config.methods.index(method), "decoder")
            texts = below(config.texts, place, ("methods", len(config.methods), "decoder"))
            config.texts |= {at: text for at, text in texts.items() if at[3] in entry}
            options = unresolved(options_of(twin), below(config.texts, place, ()))
            config.methods.append(
                MethodConfig(name=_free_name(twin, options, config.methods), decoder=entry)
            )


def _free_name(decoder: Decoder, shown: Mapping[str, Any], methods: Sequence[MethodConfig]) -> str:
    """A name that says what decodes, and that no method has."""
    usual = DECODERS.options(decoder.name)
    options = [f"{k}={v}" for k, v in shown.items() if v != usual[k].default]
    name = f"{decoder.name} twin" + (f" ({', '.join(options)})" if options else "")
    taken = {method.name for method in methods}
    while name in taken:
        name += "'"
    return name
