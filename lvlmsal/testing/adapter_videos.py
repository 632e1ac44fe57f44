"""The check of adapters about videos: which visual tokens are of which frame."""

from __future__ import annotations

from typing import Final

import torch
from PIL import Image

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.videos import Video, VisualLike
from lvlmsal.testing.adapter_images import TOLERANCE, entering, run
from lvlmsal.testing.pictures import QUESTIONS

FRAMES: Final = 4
SIDE: Final = 56


def check_videos(adapter: ModelAdapter) -> None:
    """Pixels of a frame change its own visual tokens alone; a batch gives what samples give.

    Passed where the family takes no videos, or the processor has no part for them.
    """
    processor = adapter.require_processor()
    if not adapter.takes_videos or getattr(processor, "video_processor", None) is None:
        return
    frames = random_frames()
    inputs = adapter.encode([[Video(frames, fps=2)]], QUESTIONS[:1])
    spans = adapter.spans_by_frame(inputs)[0]
    assert len(spans.images) == 1, f"one video is {len(spans.images)} images in {spans}"
    pictures = spans.pictures
    assert FRAMES % len(pictures) == 0, f"{FRAMES} frames are {len(pictures)} pictures in {spans}"
    known = sum(map(len, pictures)) + adapter.video_ends
    whole = len(spans.positions(0))
    assert known == whole, (
        f"frames and `video_ends` are {known} visual tokens, and the video has {whole}"
    )
    before = entering(adapter, inputs)[0]
    for frame in range(FRAMES):
        other = [*frames[:frame], random_frames(seed=1)[frame], *frames[frame + 1 :]]
        inputs = adapter.encode([[Video(other, fps=2)]], QUESTIONS[:1])
        changed = (entering(adapter, inputs)[0] != before).any(-1)
        found = changed.nonzero().flatten().tolist()
        places = pictures[frame * len(pictures) // FRAMES]
        assert found == places, (
            f"other pixels in frame {frame} change what stands at {found}, and `spans_by_frame` "
            f"says {places}"
        )
    _check_batch(adapter)


def _check_batch(adapter: ModelAdapter) -> None:
    """A video, an image, no picture, and two videos before an image; or none of the images."""
    video = Video(random_frames(), fps=2)
    other = Video(random_frames(seed=3), fps=2)
    image: list[VisualLike] = [] if adapter.videos_alone else [random_frames(seed=2)[0]]
    last: list[VisualLike] = [other] if adapter.one_video else [video, other, *image]
    asked: list[list[VisualLike]] = [[video], image, [], last]
    questions = [*QUESTIONS, QUESTIONS[0]]
    inputs = adapter.encode(asked, questions)
    spans = adapter.spans(inputs["input_ids"], inputs["attention_mask"])
    counts, given = [len(sample.images) for sample in spans], [*map(len, asked)]
    assert counts == given, f"samples with {given} images and videos have {counts}"
    videos = [adapter.videos_among(*pair) for pair in zip(inputs["input_ids"], spans, strict=True)]
    kinds = [{0}, set(), set(), {0} if adapter.one_video else {0, 1}]
    assert videos == kinds, f"`videos_among` says {videos}"
    batch = run(adapter, inputs).logits[:, -1]
    for row, (visuals, question) in enumerate(zip(asked, questions, strict=True)):
        alone = run(adapter, adapter.encode([visuals], [question])).logits[0, -1]
        taken = run(adapter, adapter.select_rows(inputs, spans, [row])).logits[0, -1]
        for name, logits in (("by itself", alone), ("taken out of the batch", taken)):
            gap = float((batch[row] - logits).abs().max())
            assert gap < TOLERANCE, f"sample {row} {name} differs by {gap:.1e}"


def random_frames(seed: int = 0) -> list[Image.Image]:
    """Frames of one size with random pixels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (FRAMES, SIDE, SIDE, 3)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return [Image.fromarray(frame.numpy()) for frame in pixels]
