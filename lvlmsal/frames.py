"""Frames of pandas, which is installed by an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import UnsupportedError

if TYPE_CHECKING:
    import pandas as pd


def data_frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """A frame with the same columns and types whatever the rows hold.

    Args:
        rows: Values by column; what a row lacks is missing in the frame.
        columns: The types of the columns, in their order: those of pandas, such as ``"Int64"``
            where a whole number may be missing.

    Raises:
        UnsupportedError: pandas is not installed.

    Example:
        >>> data_frame([{"token": "a"}], {"token": "object", "tries": "Int64"}).tries[0]
        <NA>
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UnsupportedError(
            "a frame needs pandas: type  pip install 'lvlmsal[pandas]'"
        ) from error
    return pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
