"""How the kit runs its checks: all of them, with the usual reason next to each that fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import LvlmsalError
from lvlmsal.model.generation import whole_cache
from lvlmsal.versions import CACHE

Case = TypeVar("Case")

EXACT_CACHES: Final = ("static", "offloaded", "offloaded_static")
"""Names of `cache_implementation` that keep every key and value as they are."""


@dataclass(frozen=True)
class Check(Generic[Case]):
    """One promise: how it is tested, and what is usually wrong where it is not kept.

    Args:
        run: Raises an exception where the case does not keep the promise.
        usual_reason: Shown next to what `run` said.
    """

    run: Callable[[Case], None]
    usual_reason: str

    def __call__(self, case: Case) -> None:
        """Run the check."""
        self.run(case)


@dataclass
class Failures:
    """What went wrong in a series of checks; nothing ends before the last one has run."""

    _found: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    _errors: list[Exception] = field(default_factory=list)

    def run(
        self, subject: str, checks: Mapping[str, Check[Case]], make: Callable[[], Case]
    ) -> None:
        """Run checks on a case, which is made again after a failure: it may be damaged then.

        Args:
            subject: What the message names: the family of the model, or the metric.
            checks: By name.
            make: Makes the case.
        """
        case = make()
        for name, check in checks.items():
            try:
                check(case)
            except Exception as error:  # of a plugin's own code, too: the others go on
                error.add_note(f"in the check {name!r} on {subject!r}")
                self._errors.append(error)
                said = (name, _told(error), check.usual_reason)
                self._found.setdefault(said, []).append(subject)
                case = make()

    def raise_any(self) -> None:
        """Report all failures at once.

        Raises:
            AssertionError: A check failed; the tracebacks of all of them stand behind it.
        """
        if not self._found:
            return
        # What several checks stumble over in the same way has one reason, and none of the usual.
        checks: dict[str, list[str]] = {}
        for name, told, _ in self._found:
            checks.setdefault(told, []).append(name)
        lines = []
        for (name, told, usually), subjects in self._found.items():
            names = checks[told]
            if len(names) == 1:
                lines.append(f"{', '.join(subjects)}, {name}: {told}\n    usual reason: {usually}")
            elif name == names[0]:
                others = ", ".join(names[1:])
                lines.append(f"{', '.join(subjects)}, {name}: {told}\n    likewise in: {others}")
        count = f"{len(self._found)} checks failed:\n" if len(self._found) > 1 else ""
        raise AssertionError(count + "\n".join(lines)) from ExceptionGroup(
            "what the checks raised", self._errors
        )


def check_caches(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    decode: Callable[..., Tensor],
    *,
    num_beams: int = 1,
) -> None:
    """Every exact cache gives the tokens of transformers' dynamic one, or is refused.

    Caches that the model cannot use on this device even without the library are left out.

    Args:
        model: Of the case.
        inputs: Of the model.
        decode: Called with options of `generate`; returns ids.
        num_beams: Under which the caches are tried.

    Raises:
        AssertionError: A cache changes the tokens.
    """
    wanted = decode()
    for name in EXACT_CACHES:
        if not _can_use(model, inputs, name, num_beams):
            continue
        try:
            found = decode(cache_implementation=name)
        except LvlmsalError as error:
            if "cache" not in str(error):  # no refusal of the cache
                raise
            continue
        assert torch.equal(found, wanted), (
            f"other tokens with cache_implementation={name!r} and num_beams={num_beams}: "
            f"{found.tolist()}, expected those of the dynamic cache: {wanted.tolist()}"
        )


def own_cache(adapter: ModelAdapter, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the library gives to generate where a window hides keys, unless options name a cache."""
    named = "cache_implementation" in options or not options.get("use_cache", True)
    cache = None if named else whole_cache(adapter)
    return {} if cache is None else {CACHE: cache}


def other_pixels(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same inputs with the contrast of their pixels turned around."""
    return {name: -value if name == "pixel_values" else value for name, value in inputs.items()}


def _can_use(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], cache: str, num_beams: int
) -> bool:
    generative: Any = type(model)  # `generate` is a mixin of the concrete classes
    options = {"do_sample": False, "max_new_tokens": 2, "num_beams": num_beams}
    try:
        generative.generate(model, **inputs, **options, cache_implementation=cache)
    except Exception:  # transformers' own, of any kind: no accelerator, an optional package
        return False
    return True


def _told(error: Exception) -> str:
    """What an exception says; for one that was not meant for the reader also its kind and place."""
    if isinstance(error, AssertionError | LvlmsalError):
        return str(error) or "an assertion without a message"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.filename}:{place.lineno}: {error}"
