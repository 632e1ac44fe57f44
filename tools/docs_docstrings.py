"""For `make docs`: brings our docstrings into the form that the parser of the site knows."""

import re
from typing import Any

from griffe import Docstring, Extension, Object


class PlainDocstrings(Extension):
    """Shows doctests under "Example:" as code, and the "::" before an equation as a colon."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if isinstance(obj.docstring, Docstring):
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)
