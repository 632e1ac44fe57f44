"""Runs of visual tokens within a sample, and which image each of them belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import torch
from torch import Tensor

Interval = tuple[int, int]
"""Half-open: ``(start, end)`` holds ``start <= position < end``."""

Within = Callable[[Sequence[int], Collection[int]], bool]
"""Told of the ids between two runs, and of those that stand behind the last image of a sample;
whether both runs are of one and the same image."""


@dataclass(frozen=True)
class Run:
    """Visual tokens that stand in a row, of one image or video.

    Attributes:
        start: position of the first of them.
        end: position behind the last one.
        owner: index of their image or video among those of the sample.
        frame: index of the frame, of a video whose frames have runs of their own.
    """

    start: int
    end: int
    owner: int
    frame: int | None = None


def check_runs(images: Sequence[Interval], runs: Sequence[Run]) -> None:
    """Refuse runs out of order, empty ones, and those that do not fill their images' ends."""
    own: dict[int, list[Run]] = {}
    for run in runs:
        own.setdefault(run.owner, []).append(run)
    ends = {owner: (mine[0].start, mine[-1].end) for owner, mine in own.items()}
    in_order = all(left.end <= right.start for left, right in pairwise(runs))
    if (
        ends != dict(enumerate(images))
        or not in_order
        or any(run.start >= run.end for run in runs)
        or [run.owner for run in runs] != sorted(run.owner for run in runs)
    ):
        raise ValueError(f"runs {runs} are not those of images at {images}")


def find_runs(
    ids: Tensor,
    wanted: Tensor,
    split: int | None = None,
    closing: Collection[int] = (),
    within: Within | None = None,
    video: int | None = None,
    within_video: Within | None = None,
) -> tuple[Run, ...]:
    """The runs of visual tokens of one sample, each with its image.

    Args:
        ids: of the sample without its padding, shape (n,).
        wanted: ids that stand for visual tokens.
        split: tokens of one image, where all have the same number: longer runs are cut.
        closing: ids that stand behind the last image of a sample, see :func:`closing_ids`.
        within: whether two runs are of the same image; by default they never are.
        video: the id that stands for visual tokens of videos, if they have one of their own.
        within_video: whether two runs of it are of the same video; by default they never are.
    """
    found: list[Run] = []
    owner = -1
    for start, end in _intervals(ids, wanted, split, video):
        gap = ids[found[-1].end : start].tolist() if found else []
        of_video = [int(ids[at]) == video for at in (found[-1].start if gap else start, start)]
        same = within_video if all(of_video) else None if any(of_video) else within
        owner += not (gap and same is not None and same(gap, closing))
        found.append(Run(start, end, owner))
    return tuple(found)


def cut_frames(runs: Sequence[Run], frames: Mapping[int, int], ends: int = 0) -> tuple[Run, ...]:
    """Runs with one for each frame of a video.

    Frames have runs of their own already, or have as many visual tokens, all of them.

    Args:
        runs: of a sample.
        frames: how many frames each video has, by its owner index.
        ends: visual tokens behind the last frame of a video, which are runs of no frame.

    Returns:
        Those of videos cut, each with its frame.

    >>> cut_frames([Run(3, 8, owner=0)], {0: 2}, ends=1)
    (Run(start=3, end=5, owner=0, frame=0), Run(start=5, end=7, owner=0, frame=1),
     Run(start=7, end=8, owner=0, frame=None))
    """
    found: list[Run] = []
    for owner, group in groupby(runs, key=lambda run: run.owner):
        mine, count = list(group), frames.get(owner)
        if count is None:
            found += mine
            continue
        if len(mine) == count and not ends:
            found += (replace(run, frame=frame) for frame, run in enumerate(mine))
            continue
        places = [at for run in mine for at in range(run.start, run.end)]
        each = max(1, (len(places) - ends) // count)
        for number in range(0, len(places), each):
            part = places[number : number + each]
            frame = number // each if number // each < count else None
            edges = [0, *(i for i in range(1, len(part)) if part[i] != part[i - 1] + 1), len(part)]
            found += (Run(part[a], part[b - 1] + 1, owner, frame) for a, b in pairwise(edges))
    return tuple(found)


def closing_ids(rows: Tensor, wanted: Tensor) -> frozenset[int]:
    """Ids that stand right behind the last visual token of samples (B, L).

    Where images are closed by a mark, it is that, by whatever id the vocabulary has for it.
    """
    found = set()
    for ids in rows:
        places = torch.isin(ids, wanted).nonzero().flatten()
        if len(places) and places[-1] + 1 < len(ids):
            found.add(int(ids[places[-1] + 1]))
    return frozenset(found)


def _intervals(ids: Tensor, wanted: Tensor, split: int | None, video: int | None) -> list[Interval]:
    """Intervals of equal, neighboring image ids; runs of several images are cut every `split`."""
    positions = torch.isin(ids, wanted).nonzero().flatten()
    if not len(positions):
        return []
    breaks = (positions.diff() != 1) | (ids[positions].diff() != 0)
    edges = [0, *(breaks.nonzero().flatten() + 1).tolist(), len(positions)]
    found: list[Interval] = []
    for first, last in pairwise(edges):
        start, end = int(positions[first]), int(positions[last - 1]) + 1
        cut = split and ids[start] != video and (end - start) % split == 0
        size = split if split and cut else end - start
        found.extend((at, at + size) for at in range(start, end, size))
    return found
