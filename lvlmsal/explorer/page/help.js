// How to read the page, and its keys.

const KEYS = [
  ["← →", "previous and next token"],
  ["Home End", "first and last token"],
  ["↑ ↓ or k j", "previous and next answer"],
  ["n", "next word that names an absent object"],
  ["a", "attention or saliency"],
  ["r", "risks, where words were judged by a detector"],
  ["l, L", "next and previous layer; m for the mean"],
  ["s", "the other side"],
  ["o", "images without overlay"],
  ["t", "light or dark"],
  ["?", "this help"],
];

class Help {
  constructor() {
    const rows = KEYS.map(([keys, text]) => [el("dt", { text: keys }), el("dd", { text })]).flat();
    const close = el("button", { type: "button", text: "Close", on: { click: () => this.node.close() } });
    const texts = [
      "The color of a word is its S: the mean saliency, over layers and over the words before it that count as its context. Words that name an object that is not in the image have a wavy line and a triangle; words that name one that is there have a plain line.",
      "Choose a word: its record stands next to the answer, arcs lead to the earlier words that it rests on most, and the bar under each word, and the maps of the image, show the whole row. Each map has a scale of its own, from 0 (dark) to its largest value (pale).",
      "Attention is the mean over heads of the same row, before any gradient.",
      ...(hasRisks() ? [RISK_HELP] : []),
      `All answers of this page are judged by one definition of S: ${DATA.definition}. What a decoder computed itself, and the threshold that it compared it with, stand in the record of a word and nowhere else.`,
    ];
    this.node = el(
      "dialog",
      { class: "help", "aria-label": "Help" },
      el("h2", { text: "How to read this page" }),
      ...texts.map((text) => el("p", { text })),
      el("h2", { text: "Keys" }),
      el("dl", {}, ...rows),
      close,
    );
  }

  toggle() {
    if (this.node.open) this.node.close();
    else this.node.showModal();
  }
}
