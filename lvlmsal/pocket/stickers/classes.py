"""What there is in the sticker world: 67 of COCO's 80 classes, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Size = Literal["small", "medium", "large"]
Band = Literal["sky", "wall", "ground"]


@dataclass(frozen=True)
class Noun:
    """A class of objects.

    Attributes:
        category: COCO's category id.
        name: COCO's name.
        plural: Its plural.
        glyphs: What it is drawn as: characters of the font, or the name of a drawing of our own.
        size: How large it is drawn in places with habits.
        band: Where it stands there.
        synonym: Another usual word, empty where there is none.
        color: The color that it mostly has, for classes that are drawn in any color; else empty.
    """

    category: int
    name: str
    plural: str
    glyphs: tuple[str, ...]
    size: Size
    band: Band = "ground"
    synonym: str = ""
    color: str = ""

    @property
    def forms(self) -> tuple[tuple[str, str], ...]:
        """Every word for it, as (singular, plural)."""
        pairs = [(self.name, self.plural)]
        if self.synonym:
            stem = self.synonym.removesuffix("y")
            pairs.append((self.synonym, f"{stem}ies" if stem != self.synonym else f"{stem}s"))
        return tuple(pairs)


COLORS: Final[MappingProxyType[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "red": (226, 44, 44),
        "blue": (64, 120, 240),
        "green": (56, 178, 72),
        "yellow": (250, 214, 48),
        "purple": (150, 72, 200),
        "pink": (250, 130, 180),
    }
)
"""Name of each color -> its RGB value. There is no orange: CHAIR takes the word for the fruit."""

_TABLE: Final = (
    Noun(1, "person", "people", ("🧍", "🚶"), "large", synonym="pedestrian"),
    Noun(2, "bicycle", "bicycles", ("🚲",), "medium", synonym="bike", color="red"),
    Noun(3, "car", "cars", ("🚗", "🚙"), "medium", synonym="automobile", color="red"),
    Noun(4, "motorcycle", "motorcycles", ("🏍",), "medium", synonym="motorbike", color="blue"),
    Noun(5, "airplane", "airplanes", ("✈",), "large", "sky", "plane"),
    Noun(6, "bus", "buses", ("🚌",), "large", color="yellow"),
    Noun(7, "train", "trains", ("🚂",), "large", synonym="locomotive", color="green"),
    Noun(8, "truck", "trucks", ("🚚", "🚛"), "large"),
    Noun(9, "boat", "boats", ("⛵", "🚤"), "large"),
    Noun(10, "traffic light", "traffic lights", ("🚦",), "medium", "wall"),
    Noun(13, "stop sign", "stop signs", ("🛑",), "small", "wall"),
    Noun(16, "bird", "birds", ("🐦", "🦆"), "small", "sky"),
    Noun(17, "cat", "cats", ("🐈", "🐱"), "medium"),
    Noun(18, "dog", "dogs", ("🐕", "🐩"), "medium"),
    Noun(19, "horse", "horses", ("🐎",), "large"),
    Noun(20, "sheep", "sheep", ("🐑",), "medium"),
    Noun(21, "cow", "cows", ("🐄",), "large"),
    Noun(22, "elephant", "elephants", ("🐘",), "large"),
    Noun(23, "bear", "bears", ("🐻",), "large"),
    Noun(24, "zebra", "zebras", ("🦓",), "large"),
    Noun(25, "giraffe", "giraffes", ("🦒",), "large"),
    Noun(27, "backpack", "backpacks", ("🎒",), "medium", synonym="rucksack", color="red"),
    Noun(28, "umbrella", "umbrellas", ("☂",), "medium", "wall", "parasol", "purple"),
    Noun(31, "handbag", "handbags", ("👜",), "small", synonym="purse", color="pink"),
    Noun(32, "tie", "ties", ("👔",), "medium", "wall", "necktie"),
    Noun(33, "suitcase", "suitcases", ("🧳",), "medium", color="green"),
    Noun(34, "frisbee", "frisbees", ("🥏",), "small", "sky", color="blue"),
    Noun(35, "skis", "skis", ("🎿",), "medium"),
    Noun(36, "snowboard", "snowboards", ("snowboard",), "medium", color="purple"),
    Noun(37, "sports ball", "sports balls", ("⚽", "🏀", "🎾"), "small", synonym="ball"),
    Noun(38, "kite", "kites", ("🪁",), "medium", "sky", color="pink"),
    Noun(41, "skateboard", "skateboards", ("🛹",), "medium", color="blue"),
    Noun(42, "surfboard", "surfboards", ("surfboard",), "medium", color="yellow"),
    Noun(43, "tennis racket", "tennis rackets", ("racket",), "medium", synonym="racket"),
    Noun(44, "bottle", "bottles", ("🍾",), "medium"),
    Noun(46, "wine glass", "wine glasses", ("🍷",), "medium"),
    Noun(47, "cup", "cups", ("☕", "🍵"), "small", synonym="mug"),
    Noun(48, "fork", "forks", ("fork",), "medium"),
    Noun(49, "knife", "knives", ("🔪",), "medium"),
    Noun(50, "spoon", "spoons", ("🥄",), "medium"),
    Noun(51, "bowl", "bowls", ("bowl",), "medium"),
    Noun(52, "banana", "bananas", ("🍌",), "small"),
    Noun(53, "apple", "apples", ("🍎",), "small"),
    Noun(54, "sandwich", "sandwiches", ("🥪",), "medium"),
    Noun(55, "orange", "oranges", ("🍊",), "small"),
    Noun(56, "broccoli", "broccoli", ("🥦",), "small"),
    Noun(57, "carrot", "carrots", ("🥕",), "small"),
    Noun(58, "hot dog", "hot dogs", ("🌭",), "medium"),
    Noun(59, "pizza", "pizzas", ("🍕",), "medium"),
    Noun(60, "donut", "donuts", ("🍩",), "small", synonym="doughnut"),
    Noun(61, "cake", "cakes", ("🍰", "🎂"), "medium"),
    Noun(62, "chair", "chairs", ("🪑",), "medium", color="green"),
    Noun(63, "couch", "couches", ("🛋",), "large", synonym="sofa", color="blue"),
    Noun(64, "potted plant", "potted plants", ("🪴",), "medium", synonym="houseplant"),
    Noun(65, "bed", "beds", ("🛏",), "large", color="blue"),
    Noun(70, "toilet", "toilets", ("🚽",), "medium"),
    Noun(72, "tv", "tvs", ("📺",), "large", "wall", "television"),
    Noun(73, "laptop", "laptops", ("💻",), "medium"),
    Noun(74, "mouse", "mice", ("🖱",), "small"),
    Noun(76, "keyboard", "keyboards", ("⌨",), "medium"),
    Noun(77, "cell phone", "cell phones", ("📱",), "small", synonym="phone"),
    Noun(84, "book", "books", ("📖", "📕"), "small"),
    Noun(85, "clock", "clocks", ("🕰", "⏰"), "medium", "wall"),
    Noun(86, "vase", "vases", ("🏺",), "medium", color="purple"),
    Noun(87, "scissors", "scissors", ("✂",), "small", color="red"),
    Noun(88, "teddy bear", "teddy bears", ("🧸",), "medium", synonym="teddy"),
    Noun(90, "toothbrush", "toothbrushes", ("🪥",), "small"),
)
NOUNS: Final[MappingProxyType[str, Noun]] = MappingProxyType({noun.name: noun for noun in _TABLE})
"""COCO's name of each class -> the class, in the order of COCO's ids."""

DISTRACTORS: Final = tuple("🌲🌸⭐🎈🦋🐟🎁🔑🏠⛺🪨🍄🎩🍇🧀🐢🎸🪜🧺🔔🎨🌵🌻🐌🏆📦💡🛒🧹🪣")
"""What is drawn now and then and is no class of COCO."""

PAIRED: Final = frozenset({"skis", "scissors"})
"""Classes whose name is a plural: "a pair of skis"."""
