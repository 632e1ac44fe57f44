"""Write pictures about which nothing is asked, for methods that contrast with an unrelated one.

``python tools/methods_inputs.py methods`` writes 40 pictures of the world of the packaged config
``methods``, of another seed, into the folder of its world with ``-others`` behind. What is there
already stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import visible
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.config.world import ensure_world

OTHERS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Write them for some configs; the exit code is 2 for an error that the user can fix."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("configs", nargs="+", help="files, or names of packaged configs")
    try:
        for name in parser.parse_args(arguments).configs:
            world = read_draft(name).config.world
            if world is None:
                parser.error(f"{name} has no world")
            root = f"{world.root}-others"
            ensure_world(replace(world, root=root, images=OTHERS, seed=world.seed + 1))
    except LvlmsalError as error:
        print(visible(f"error: {error}", keep="\n\t"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
