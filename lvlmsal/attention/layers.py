"""How a choice of layers is written: a list, an integer range or fractions of the depth."""

from __future__ import annotations

import re
from collections.abc import Sequence

LayerSpec = Sequence[int] | str | None
"""``None`` (all), ``[6, 7, 8]``, ``"6:9"`` (a range), ``"2:-1"`` (all from 2 on but the last) or
``"0.5:1.0"`` (fractions of the depth)."""


def resolve_layers(spec: LayerSpec, num_layers: int) -> list[int]:
    """The layer indices that a specification names, in ascending order.

    Args:
        spec: ``None`` for all layers; a sequence of indices, negative ones counted from the end;
            or ``"start:stop"``, read as fractions of the depth where a bound has a decimal point
            and as indices where neither has one. Either bound may be left out, and an index at
            which to stop may be counted from the end.
        num_layers: depth of the text decoder.

    Raises:
        ValueError: the text cannot be read, an index is outside the model or nothing is selected.

    >>> resolve_layers("0.5:1.0", 8)
    [4, 5, 6, 7]
    >>> resolve_layers("6:9", 32), resolve_layers([-1, 0], 4), resolve_layers(None, 2)
    ([6, 7, 8], [0, 3], [0, 1])
    >>> resolve_layers("2:-1", 5)
    [2, 3]
    """
    if spec is None:
        return list(range(num_layers))
    if isinstance(spec, str):
        chosen = _from_text(spec, num_layers)
    else:
        outside = [index for index in spec if not -num_layers <= index < num_layers]
        if outside:
            raise ValueError(
                f"layers {outside} are outside a model of {num_layers} layers: "
                f"give indices from {-num_layers} to {num_layers - 1}"
            )
        chosen = sorted({index % num_layers for index in spec})
    if not chosen:
        raise ValueError(f"layers={spec!r} selects none of the model's {num_layers} layers")
    return chosen


def check_layers(spec: LayerSpec) -> None:
    """Raise ``ValueError`` where a specification cannot be read for any model.

    >>> check_layers("deep")
    Traceback (most recent call last):
        ...
    ValueError: layers='deep' is not understood: write a list such as [6, 7, 8], a range such as \
'6:9' or fractions of the depth such as '0.5:1.0'
    """
    if isinstance(spec, str):
        _bounds(spec)


def _bounds(spec: str) -> tuple[str, str]:
    start, colon, stop = (part.strip() for part in spec.partition(":"))
    number = r"(\d+(\.\d*)?|\.\d+)?"
    from_end = number if "." in spec else rf"{number}|-[1-9]\d*"
    readable = (
        colon and re.fullmatch(number, start, re.ASCII) and re.fullmatch(from_end, stop, re.ASCII)
    )
    if not readable or ("." in spec and any(float(part or 0) > 1 for part in (start, stop))):
        raise ValueError(
            f"layers={spec!r} is not understood: write a list such as [6, 7, 8], a range such as "
            f"'6:9' or fractions of the depth such as '0.5:1.0'"
        )
    return start, stop


def _from_text(spec: str, num_layers: int) -> list[int]:
    start, stop = _bounds(spec)
    if "." in spec:
        first = round(float(start or 0) * num_layers)
        last = round(float(stop or 1) * num_layers)
    else:
        first, last = int(start or 0), int(stop or num_layers)
        last += num_layers if last < 0 else 0
        if last > num_layers:
            raise ValueError(f"layers={spec!r} reaches beyond a model of {num_layers} layers")
    return list(range(first, last))
