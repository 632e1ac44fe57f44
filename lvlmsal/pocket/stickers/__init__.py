"""The sticker world: places with real nouns, COCO's classes drawn from a color font."""
