"""The explorer: answers and what their tokens rest on, as one page that needs nothing else.

`write_page` writes it; ``lvlmsal explore`` is the same for run folders and saved reports.
"""

from lvlmsal.explorer.page import Written, build_page, write_page
from lvlmsal.explorer.shown_answer import ShownAnswer

__all__ = ["ShownAnswer", "Written", "build_page", "write_page"]
