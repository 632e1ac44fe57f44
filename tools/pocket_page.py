"""Writes docs/pocket-idefics3.md: twenty pictures with question, answer and truth as they came out.

    python tools/pocket_page.py

The first ten scenes of an ordinary world and the first ten of a shifted one, none of them chosen.
The model describes each, and says of one class that is there and of one that the place suggests but
is not there whether it is there. Words that name something absent are bold.
"""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

import lvlmsal
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, with_article
from lvlmsal.pocket.stickers.draw import draw
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.questions import exists_question
from lvlmsal.pocket.stickers.scene import Scene
from lvlmsal.pocket.stickers.words import word
from lvlmsal.pocket.stickers.world import WORLD

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "pocket-idefics3.md"
PICTURES = ROOT / "docs" / "images" / "stickers"
SEED = 3
EACH = 10
HEAD = """# Twenty pictures and what pocket-idefics3 said

The third shipped model, on the sticker world: the first ten scenes with the habits of its training
and the first ten without (place, classes, positions and sizes are drawn independently). None was
chosen. **Bold** words name something that is not there. Hazy objects can only be guessed; that is
where the habits win. `lvlmsal/pocket/weights/pocket-idefics3/README.md` has the scores.

```sh
python tools/pocket_page.py
```

Pictures: derived from OpenMoji, the open-source emoji and icon project, license CC BY-SA 4.0; they
are under the same license.
"""


def suggested(scene: Scene) -> str:
    """The commonest class of the place that is not there, or any that is not there."""
    usual = [name for name in PLACES[scene.place].habits if name not in scene.present]
    return (usual or list(scene.absent))[0]


def marked(text: str, scene: Scene, vocabulary: Vocabulary) -> str:
    """A caption with what is not there in bold."""
    reading = vocabulary.scan(text)
    found = list(zip(reading.objects, reading.places, strict=True))
    for (name, _), (begin, end) in reversed(found):
        if name not in scene.present:
            text = f"{text[:begin]}**{text[begin:end]}**{text[end:]}"
    return text


def truth(scene: Scene) -> str:
    """What is there, with hazy objects in brackets."""
    said = []
    for name in scene.present:
        things = scene.of(name)
        many = f"{len(things)} {word(name, 2)}"
        words = with_article(word(name, 1)) if len(things) == 1 else many
        hazy = all(thing.strength < 0.5 for thing in things)
        said.append(f"({words})" if hazy else words)
    return f"{with_article(scene.place)}; {', '.join(said)}"


def main() -> None:
    """Write the page and its pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    lvlm = lvlmsal.load("pocket-idefics3")
    vocabulary = Vocabulary.coco()
    parts = [HEAD]
    for shifted in (False, True):
        parts.append(f"## {'Without habits' if shifted else 'With habits'}\n")
        parts.append("| picture | asked, answered, true |\n| --- | --- |")
        for index in range(EACH):
            scene = WORLD.scene_number(index, seed=SEED, shifted=shifted)
            name = f"{'shifted' if shifted else 'ordinary'}-{index + 1:02d}.png"
            Image.fromarray(draw(scene).image).save(PICTURES / name)
            there = random.Random(index).choice(scene.present)
            asked = [exists_question(there), exists_question(suggested(scene))]
            caption, yes, no = (
                answer.text.strip()
                for answer in lvlm.ask(PICTURES / name, [CAPTION_PROMPTS[0], *asked])
            )
            lines = [
                f"True: {truth(scene)}.",
                f"*{CAPTION_PROMPTS[0]}* {marked(caption, scene, vocabulary)}",
                f"*{asked[0]}* {yes if yes.startswith('Yes') else f'**{yes}**'}",
                f"*{asked[1]}* {no if no.startswith('No') else f'**{no}**'}",
            ]
            parts.append(f"| ![](images/stickers/{name}) | {'<br>'.join(lines)} |")
        parts.append("")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
