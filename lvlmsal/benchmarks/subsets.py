"""Subsets of a benchmark that can be named in a paper and drawn again anywhere.

A recipe such as ``coco-val2014-500-seed0`` says which 500 images: the keys of the population are
ordered by the SHA-256 of ``coco-val2014-seed0/KEY`` in hexadecimal, and the first 500 are taken. No
random number generator is involved, so the choice depends on no version of anything; and since
the number does not enter the hash, the 100 images of ``coco-val2014-100-seed0`` are among them.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import Identifier, listed, normal_id, read_text

_RECIPE = re.compile(r"(?P<population>[a-z0-9]+(?:-[a-z0-9]+)*)-(?P<count>\d+)-seed(?P<seed>\d+)")
_COCO_IMAGE = r"COCO_{part}_(\d{{12}})\.\w+"


@dataclass(frozen=True)
class Population:
    """What a recipe draws from.

    Attributes:
        pattern: Expression that an image's file name must match; its first group is the key. Empty
            where every group of the benchmark counts and is its own key.
        size: How many images there are, or 0 where that depends on the files.
    """

    pattern: str = ""
    size: int = 0


POPULATIONS: dict[str, Population] = {
    "all": Population(),
    "coco-val2014": Population(_COCO_IMAGE.format(part="val2014"), 40504),
    "coco-train2014": Population(_COCO_IMAGE.format(part="train2014"), 82783),
}
"""What recipes can draw from; the sizes are those of the 2014 release of COCO."""


@dataclass(frozen=True)
class Recipe:
    """A named subset.

    Attributes:
        population: One of `POPULATIONS`.
        count: How many groups.
        seed: Which of the many subsets of that size.
    """

    population: str
    count: int
    seed: int

    @classmethod
    def parse(cls, text: str) -> Recipe | None:
        """Read ``<population>-<n>-seed<k>``; None for anything else (a path).

        Example:
            >>> Recipe.parse("coco-val2014-500-seed0")
            Recipe(population='coco-val2014', count=500, seed=0)
            >>> Recipe.parse("lists/mine.txt") is None
            True
        """
        found = _RECIPE.fullmatch(text)
        if found is None:
            return None
        return cls(found["population"], int(found["count"]), int(found["seed"]))

    def problem(self) -> str:
        """What is wrong with the recipe whatever the data, or an empty string."""
        if self.population not in POPULATIONS:
            return (
                f"there is no population {self.population!r}; known: {', '.join(POPULATIONS)} "
                "(a file of that name is meant? write ./ before it)"
            )
        return "" if self.count else "a subset of 0 groups asks nothing"


@dataclass(frozen=True)
class Subset:
    """The groups that a benchmark uses, of those that its files hold.

    Attributes:
        option: What was asked for: a recipe, a list file, or limit and seed.
        groups: The chosen groups, in the order of the files.
        population: How many groups the files hold.
    """

    option: str
    groups: tuple[str, ...]
    population: int

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted groups, one per line: equal for equal choices in any order."""
        lines = "".join(f"{group}\n" for group in sorted(self.groups))
        return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()

    def text(self) -> str:
        """The content of an id list file that chooses the same groups."""
        head = f"# {len(self.groups)} of {self.population} groups: {self.option}\n"
        return head + "".join(f"{group}\n" for group in self.groups)


def drawn(keys: Sequence[str], recipe: Recipe) -> list[str]:
    """The keys that a recipe chooses.

    Args:
        keys: The keys of the whole population, each once, in any order.
        recipe: What to draw.

    Returns:
        The first `recipe.count` keys in the order of their hashes.

    Example:
        >>> drawn(["c", "a", "b", "d"], Recipe("all", 2, 0))
        ['c', 'd']
    """

    def rank(key: str) -> str:
        text = f"{recipe.population}-seed{recipe.seed}/{key}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    return sorted(keys, key=rank)[: recipe.count]


def recipe_groups(recipe: Recipe, images: Mapping[str, Sequence[str]]) -> set[str]:
    """The groups that a recipe chooses from a benchmark.

    Args:
        recipe: The recipe.
        images: File names of the images of each group.

    Raises:
        DataError: The recipe is wrong, or the files do not hold its whole population.
    """
    if problem := recipe.problem():
        raise DataError(f"subset: {problem}")
    population = POPULATIONS[recipe.population]
    keys = {group: group for group in images}
    if population.pattern:
        keys = {}
        for group, names in images.items():
            found = [re.fullmatch(population.pattern, name) for name in names]
            if len(found) == 1 and found[0] is not None:
                # the number without its zeros, as COCO's annotations have it
                keys[str(int(found[0][1]))] = group
    if population.size and len(keys) != population.size:
        raise DataError(
            f"subset: {recipe.population} has {population.size} images and these files name "
            f"{len(keys)} of them, so the choice would not be that of others. Draw from what is "
            f"there (all-{recipe.count}-seed{recipe.seed}), or give a list of ids"
        )
    if recipe.count > len(keys):
        raise DataError(
            f"subset: {recipe.count} groups are asked for, and the files hold {len(keys)}"
        )
    return {keys[key] for key in drawn(list(keys), recipe)}


def list_file(text: str, root: Path) -> Path:
    """The id list that an option names: below `root` if it is there, else from where one stands.

    Raises:
        DataError: It is in neither place, and no recipe either.
    """
    for path in (root / text, Path(text)):
        if path.is_file():
            return path
    raise DataError(
        f"subset: {text!r} is neither a recipe such as all-100-seed0 or coco-val2014-500-seed0 "
        f"(<population>-<n>-seed<k>; populations: {', '.join(POPULATIONS)}) nor an id list file "
        f"in {root} or the current folder"
    )


def listed_groups(path: Path, images: Mapping[str, Sequence[str]], problems: list[str]) -> set[str]:
    """The groups that an id list file names.

    A line holds a group id or the name of an image; blank lines and lines that start with ``#`` are
    skipped.

    Args:
        path: The file.
        images: File names of the images of each group.
        problems: Takes one text for each line that names nothing, several groups, or a group
            that was named before.

    Raises:
        DataError: The file cannot be read or names nothing at all.
    """
    known: dict[Identifier, set[str]] = {}
    for group, names in images.items():
        for key in {normal_id(text) for text in (group, *names) if text.strip()}:
            known.setdefault(key, set()).add(group)
    first: dict[str, int] = {}
    entries = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        entries += 1
        groups = {entry} if entry in images else known.get(normal_id(entry), set())
        if len(groups) != 1:
            what = f"names the groups {listed(sorted(groups))}" if groups else "is not in the data"
            problems.append(
                f"{path}:{number}: {entry!r} {what}; expected a group id or an image name, such "
                f"as {listed(list(images)[:2])}"
            )
            continue
        (group,) = groups
        if group in first:
            problems.append(f"{path}:{number}: {entry!r} was already named in line {first[group]}")
        first.setdefault(group, number)
    if not entries:
        raise DataError("the list is empty; expected a group id or image name per line", path=path)
    return set(first)


def choose(
    images: Mapping[str, Sequence[str]],
    root: Path,
    problems: list[str],
    *,
    subset: str | None,
    limit: int | None,
    seed: int | None,
) -> Subset | None:
    """The groups that a benchmark's options choose, or None where they leave none out on purpose.

    Args:
        images: File names of the images of each group, in the order of the files.
        root: Folder of the benchmark, where id lists are looked for first.
        problems: Takes what is wrong with a recipe or list; then nothing is chosen.
        subset: A recipe or an id list file.
        limit: Maximum number of groups, of those that `subset` chooses.
        seed: Draw these at random; without it the first are taken.
    """
    groups, said = list(images), []
    if subset is not None:
        said.append(subset)
        recipe = Recipe.parse(subset)
        try:
            if recipe is not None:
                kept = recipe_groups(recipe, images)
            else:
                kept = listed_groups(list_file(subset, root), images, problems)
        except DataError as error:
            problems.append(str(error))
            return None
        groups = [group for group in groups if group in kept]
    if limit is not None and limit < len(groups):
        if seed is None:
            said.append(f"the first {limit}")
            groups = groups[:limit]
        else:
            said.append(f"{limit} drawn by Python's generator with seed {seed}")
            # sorted first: the choice must not depend on the order of the lines
            kept = set(random.Random(seed).sample(sorted(groups), limit))
            groups = [group for group in groups if group in kept]
    return Subset(", ".join(said), tuple(groups), len(images)) if said else None
