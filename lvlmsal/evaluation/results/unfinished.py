"""How tables say that a run has not come to its end."""

from __future__ import annotations

from lvlmsal.evaluation.results.schema import Unfinished


def unfinished_text(unfinished: Unfinished) -> str:
    """How much of a run is there, and what is not.

    Args:
        unfinished: As ``results.json`` has it.
    """
    cells = unfinished["cells"]
    several = len({cell["seed"] for cell in cells}) > 1
    listed = [
        f"{cell['model']} with {cell['method']} on {cell['benchmark']}"
        + (f", seed {cell['seed']}" if several else "")
        + f" ({cell['answers']} of {cell['expected']})"
        for cell in cells
    ]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return (
        f"unfinished: {unfinished['answers']} of {unfinished['expected']} answers; lacking are "
        f"{'; '.join(listed[:5])}{more}. The figures are those of what is answered; the command "
        "that began the run answers the rest."
    )
