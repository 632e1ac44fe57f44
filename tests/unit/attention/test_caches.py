"""Every method on every kind of cache: equal to the dynamic cache, or refused by name.

In float64, so that rounding decides nothing. One family and greedy decoding are everyday work; the
rest is slow.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, StaticCache

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.second_stream import MOVES
from lvlmsal.decoders.guided import Guided, GuidedBeam
from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.decoders.reverse import Reverse
from lvlmsal.decoders.search import Sample
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import LvlmsalError, UnsupportedError
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.loading import load
from lvlmsal.registry import DECODERS, INTERVENTIONS
from lvlmsal.testing.drawn import drawn_images
from lvlmsal.testing.tiny import TINY, collate, tiny_lvlm, tiny_samples
from lvlmsal.versions import CACHE
from tests.second_streams import BANNED
from tests.tiers import in_full

STEPS = 5
STRONG: dict[str, dict[str, Any]] = {
    "locore": {"beta": 2.0},
    "vcd": {"beta": 0.0},
    "icd": {"beta": 0.0, "placement": "user"},
    "sid": {"beta": 0.0, "kept": 2, "layer": 1},
    "avisc": {"beta": 0.0},
    "causalmm": {"beta": 0.0, "layers": None},
    "damro": {"beta": 0.0, "kept": 2},
    "crops": {"beta": 0.0, "sure": 1.0, "rate": 0.5, "layer": 1, "text_kept": 3},
    "m3id": {"rate": 0.5, "gate": "plausibility", "beta": 0.0},
    **{name: dict(INTERVENTIONS.get(name).strong) for name in ("agla", "cicd", "marine", "vista")},
}
"""Options that change a random model, where the defaults may not or something must be given."""

DECODING: dict[str, Any] = {
    "greedy": {"do_sample": False},
    "sampling": Sample(temperature=1.5).generate_kwargs(seed=3),
    "beams": {"do_sample": False, "num_beams": 3},
    "sgrs": SGRS(alpha=0.9).generate_kwargs(seed=3),
    "opera": OPERA(num_beams=2, threshold=2, window=3).generate_kwargs(),
    "guided": Guided(**Guided.strong),
    "guided-beam": GuidedBeam(**GuidedBeam.strong, num_beams=2),
    "reverse": Reverse(**Reverse.strong),
}


WINDOWED = "qwen2_vl"
"""A family whose text model knows windows."""


def window_of(model: Any, width: int) -> Any:
    """The same model, of which every second layer looks back so many columns only."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    text.use_sliding_window, text.sliding_window = True, width
    text.layer_types = [
        "sliding_attention" if layer % 2 else "full_attention"
        for layer in range(text.num_hidden_layers)
    ]
    windowed = type(model)(config).to(torch.float64).eval()
    windowed.load_state_dict(model.state_dict())
    return windowed


def cache_of(kind: str, model: Any, inputs: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of generate."""
    if kind == "none":
        return {"use_cache": False}
    if kind == "own":
        return {CACHE: DynamicCache()}
    if kind == "quantized":
        return {"cache_implementation": kind, "cache_config": {"backend": BACKEND}}
    return {} if kind == "dynamic" else {"cache_implementation": kind}


@functools.cache
def answer(
    family: str, method: str, kind: str, decoding: str, window: int | None = None
) -> Tensor | str:
    """What an answer of two samples was chosen from, or its tokens; or why it is refused."""
    model, processor = tiny_lvlm(family, dtype=torch.float64)
    if window is not None:
        model = window_of(model, window)
    lvlm = load((model, processor))
    inputs = collate(tiny_samples(family, (1, 2), dtype=torch.float64))
    edit = INTERVENTIONS.build(method, **STRONG.get(method, {}))
    given = DECODING[decoding]
    given = given if isinstance(given, dict) else given.bind(lvlm.adapter).generate_kwargs()
    how: dict[str, Any] = {**given, **cache_of(kind, model, inputs)}
    how |= {"max_new_tokens": STEPS, "suppress_tokens": BANNED, "return_dict_in_generate": True}
    own = decoding in ("sgrs", "opera", "guided", "guided-beam", "reverse")
    generative: Any = model
    try:
        with drawn_images(), intervene(lvlm.adapter, edit):
            found = generative.generate(**inputs, **how, output_scores=not own)
    except LvlmsalError as error:
        return str(error)
    sequences: Tensor = found.sequences
    return sequences if own or decoding == "beams" else torch.stack(found.scores)


def max_difference(one: Any, other: Any) -> float:
    """Of scores that may be minus infinity, where a token is banned."""
    return float((one.double().clamp(min=-1e4) - other.double().clamp(min=-1e4)).abs().max())


def check(family: str, method: str, kind: str, decoding: str, window: int | None = None) -> None:
    wanted = answer(family, method, "own", decoding, window)
    found = answer(family, method, kind, decoding, window)
    if isinstance(found, str):
        # refused for good where it always is; else by the name of what to do about the cache
        always = found == wanted
        assert always or "cache" in found, found
        return
    assert isinstance(wanted, Tensor)
    assert found.shape == wanted.shape
    tolerance = 1e-6
    if kind == "quantized":  # plain answers differ as well: by how much is the measure
        plain = [answer(family, "none", which, decoding) for which in ("own", kind)]
        tolerance = 5 * max_difference(*plain)
    assert max_difference(found, wanted) <= tolerance


BACKEND = next((name for name in ("quanto", "hqq") if importlib.util.find_spec(name)), None)
LACKING: dict[str, str] = {}
"""Kinds of caches that cannot be had here, each with its reason; two skips in place of hundreds."""
if not torch.cuda.is_available():
    LACKING["offloaded"] = "transformers offloads caches from an accelerator, and there is none"
if BACKEND is None:
    LACKING["quantized"] = "neither optimum-quanto nor hqq is installed"
KINDS = [k for k in ("dynamic", "static", "none", "offloaded", "quantized") if k not in LACKING]


@pytest.mark.parametrize("kind", LACKING)
def test_kinds_of_caches_that_were_not_tried(kind: str) -> None:
    pytest.skip(LACKING[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", INTERVENTIONS.names())
def test_every_cache_gives_the_same_scores(method: str, kind: str) -> None:
    check("llava", method, kind, "greedy")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decoding", [name for name in DECODING if name != "greedy"])
@pytest.mark.parametrize("method", in_full(INTERVENTIONS.names(), but="vcd"))
def test_whatever_the_decoding(method: str, decoding: str, kind: str) -> None:
    check("llava", method, kind, decoding)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("family", sorted(set(TINY) - {"llava"}))
@pytest.mark.parametrize("method", in_full(INTERVENTIONS.names(), but="vcd"))
def test_whatever_the_family(method: str, family: str, kind: str) -> None:
    check(family, method, kind, "greedy")


@pytest.mark.slow
@pytest.mark.parametrize("kind", in_full(["dynamic", "static"], but="static"))
@pytest.mark.parametrize("decoding", in_full(DECODING, but="greedy"))
@pytest.mark.parametrize("method", INTERVENTIONS.names())
def test_windows_are_right_or_refused(method: str, decoding: str, kind: str) -> None:
    """As caches of transformers drop what has left a window, columns cannot be told any longer."""
    check(WINDOWED, method, kind, decoding, window=4)


def test_a_window_hides_something() -> None:
    """Else the tests about windows show nothing."""
    scores = [answer(WINDOWED, "none", "own", "greedy", window) for window in (None, 4)]
    assert max_difference(*scores) > 1e-3


@pytest.mark.parametrize("method", ["locore", "vcd", "dola"])
def test_generate_of_the_library_takes_a_cache_that_keeps_everything(method: str) -> None:
    """The advice that an error gives to others is followed here."""
    wanted = answer(WINDOWED, method, "own", "greedy", 4)
    assert isinstance(wanted, Tensor)
    model, processor = tiny_lvlm(WINDOWED, dtype=torch.float64)
    lvlm = load((window_of(model, 4), processor))
    samples = tiny_samples(WINDOWED, (1, 2), dtype=torch.float64)
    edit = INTERVENTIONS.build(method, **STRONG.get(method, {}))
    encoded = collate(samples)
    lvlm.adapter.encode = lambda *_, **__: encoded  # type: ignore[method-assign]
    picture = Image.new("RGB", (28, 28))
    answers = lvlm.generate(
        [picture, picture], ["a", "b"], interventions=[edit], max_new_tokens=STEPS
    )
    chosen = wanted.argmax(-1).T.tolist()
    for row, found in zip(chosen, answers, strict=True):
        same = min(len(row), len(found.token_ids))
        assert not set(found.token_ids[:same]) & set(BANNED), "else the test shows nothing"
        assert found.token_ids[:same] == row[:same]


def test_no_cache_of_the_registry_is_left_out() -> None:
    """Who registers another decoder with a loop of its own adds it here."""
    # DOPRA's loop is OPERA's; those that see raw images run on caches of this library alone
    names = [name for name in DECODERS.names() if not DECODERS.get(name).sees_images]
    names.remove("dopra-reconstruction")
    made = {name: DECODERS.get(name)().generate_kwargs() for name in names}
    assert {name for name, how in made.items() if "custom_generate" in how} <= set(DECODING)


class Watch(HiddenStateIntervention):
    """Notes what a cache says of itself in the midst of an answer."""

    def __init__(self, cache: Any, seen: list[Any]) -> None:
        super().__init__()
        self.cache, self.seen = cache, seen

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        self.seen.append((self.cache.is_compileable, len(self.cache), type(self.cache)))
        return states


@pytest.mark.parametrize("kind", [DynamicCache, StaticCache])
def test_a_followed_cache_says_of_itself_what_it_said(kind: Any) -> None:
    lvlm = load(tiny_lvlm("llava", dtype=torch.float64))
    model: Any = lvlm.model
    inputs = tiny_samples("llava", (1,), dtype=torch.float64)[0].inputs
    seen: dict[bool, list[Any]] = {}
    for edits in ([], [VCD(beta=0.0)]):
        options = {"max_cache_len": 60} if kind is StaticCache else {}
        cache = kind(config=model.config, **options)
        watch = Watch(cache, seen.setdefault(bool(edits), []))
        with intervene(lvlm.adapter, watch, *edits):
            model.generate(
                **inputs,
                **{CACHE: cache},
                max_new_tokens=3,
                do_sample=False,
                suppress_tokens=BANNED,
            )
            assert bool(set(MOVES) & set(vars(cache))) == bool(edits)
        assert not set(MOVES) & set(vars(cache))
    # The second stream runs passes of its own in between, in which this cache says the same.
    assert set(seen[True]) == set(seen[False])


def test_rows_of_a_followed_cache_are_not_repeated() -> None:
    lvlm = load(tiny_lvlm("llava", dtype=torch.float64))
    inputs = tiny_samples("llava", (1,), dtype=torch.float64)[0].inputs
    cache = DynamicCache()
    with intervene(lvlm.adapter, VCD(beta=0.0)), torch.no_grad():
        lvlm.model(**inputs, **{CACHE: cache})
        with pytest.raises(UnsupportedError, match="batch_repeat_interleave"):
            cache.batch_repeat_interleave(2)
    cache.batch_repeat_interleave(2)
