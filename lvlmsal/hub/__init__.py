"""Methods where `generate` of transformers is called: repositories of `custom_generate`.

Such a repository holds a few lines that call :func:`generate` here, so that it never has to be
written again when the library changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.hub.exporting import export
    from lvlmsal.hub.generating import generate

__all__ = ["export", "generate"]

__getattr__, __dir__ = lazy_names(__name__, {"export": ".exporting", "generate": ".generating"})
