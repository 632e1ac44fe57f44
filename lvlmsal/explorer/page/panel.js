// The record of the chosen token, its layers and its context groups.

/** By what a decoder went: names of its value and of what that is compared with, and sentences. */
const JUDGES = {
  saliency: {
    value: ["S of the decoder", "what it compared with τ"],
    threshold: ["τ", "what the decoder's S had to reach"],
    none: "Taken without a comparison: there was no history yet.",
    best: "highest S",
  },
  risk: {
    value: ["risk", "of the judged word here, by the decoder's detector"],
    threshold: ["too risky from", "the decoder replaces words from this risk on"],
    none: "No judged word: taken as it came.",
    best: "lowest risk",
    lost: "sentence",
  },
  score: {
    value: ["score", "of the text up to here and the image, by the decoder's scorer"],
    none: "No judged word ends here: taken as it came.",
  },
  doubt: {
    value: ["doubt", "probability of the unconfident mark behind the phrase that ends here"],
    none: "Nothing was rejected in this place.",
    lost: "phrase",
  },
};

class Panel {
  constructor(answer, chooseLayer) {
    this.answer = answer;
    this.chooseLayer = chooseLayer;
    this.record = el("dl", { class: "record" });
    this.rejections = el("div", { class: "rejections" });
    this.layers = el("div", { class: "layers", role: "radiogroup", "aria-label": "Layer" });
    this.groups = el("table", { class: "groups" });
    this.layerTitle = el("h3");
    this.groupTitle = el("h3");
    this.title = el("h3");
    this.ownNote = el("p", { class: "own quiet" });
    this.reasons = el("div", { class: "reasons" });
    // next to the words, or below them and in sight as long as they are
    this.aside = el("section", { class: "panel aside", "aria-label": "Chosen word" }, this.title, this.record, this.ownNote, this.rejections, this.reasons);
    this.details = el(
      "div",
      { class: "panel details" },
      el("section", {}, this.layerTitle, this.layers),
      el("section", {}, this.groupTitle, this.groups),
    );
  }

  update(view) {
    this.showRecord(view);
    this.showLayers(view);
    this.showGroups(view);
  }

  showRecord(view) {
    const { answer } = this;
    const record = answer.records?.[view.token];
    const score = answer.scores(`saliency/${answer.fusion}`, null)[view.token];
    const judge = record && JUDGES[record.by];
    const judged = record !== undefined && (record.value !== null || record.threshold !== null);
    // S and τ as the decoder saw them, which may be by another definition than the page's
    const own = judged && record.by === "saliency";
    const reading = answer.own ?? "by options of its own";
    const found = answer.hallucinated?.[view.token];
    const logProbability = answer.logProbability[view.token];
    this.title.replaceChildren(
      el("span", { class: "token-name", text: label(answer.tokens[view.token]) }),
      el("span", { class: "quiet", text: `token ${view.token + 1} of ${answer.tokens.length}` }),
    );
    this.reasons.replaceChildren(...reasonsOf(answer, view.token, view.threshold));
    const lines = [
      ["S", shown(score), `mean saliency of its context: ${DATA.definition}`],
      judged && [judge.value[0], shown(record.value), own ? `${judge.value[1]}: ${reading}` : judge.value[1]],
      judge?.threshold && (judged || record.by === "saliency") && [judge.threshold[0], shown(record.threshold), judge.threshold[1]],
      ["p", logProbability === null ? "–" : shown(Math.exp(logProbability)), "probability under the model"],
      ["log p", shown(logProbability), "natural logarithm of p"],
      ["entropy", shown(answer.entropy[view.token]), "of the distribution it was drawn from, in nats"],
      record && ["tries", String(record.tries), "candidates that were looked at"],
      found !== undefined && found !== null && ["object", found ? "not in the image" : "in the image", "by the ground truth"],
    ].filter(Boolean);
    this.record.replaceChildren(
      ...lines.map(([name, value, title]) => el("div", { title }, el("dt", { text: name }), el("dd", { text: value }))),
    );
    this.ownNote.textContent = own ? `S of the decoder and τ: ${reading}.` : "";
    this.showRejected(record, label(answer.tokens[view.token]));
  }

  showRejected(record, name) {
    if (!record) {
      this.rejections.replaceChildren();
      return;
    }
    const judge = JUDGES[record.by];
    const lost = record.takenBack.map((one) => el("p", { class: "quiet", text: takenBack(one, record.by) }));
    if (!record.rejected.length) {
      const reason = record.fallback ? fallbackOf(record.by) : record.threshold === null ? judge.none : "Taken at the first try.";
      this.rejections.replaceChildren(...lost, el("p", { class: "quiet", text: reason }));
      return;
    }
    const rows = [
      ...record.rejected.map((one) => ({ ...one, name: label(one.text), state: "rejected" })),
      { ...record, name, state: "taken" },
    ];
    const known = rows.some((row) => row.probability !== null);
    const top = Math.max(1e-9, record.threshold ?? 0, ...rows.map((row) => row.value ?? 0));
    const body = rows.map((row) =>
      el(
        "tr",
        { class: row.state },
        el("th", { scope: "row", text: row.name }),
        el("td", {}, this.bar(Math.max(0, row.value ?? 0) / top, record.threshold === null ? null : record.threshold / top)),
        el("td", { class: "number", text: shown(row.value) }),
        known ? el("td", { class: "number", text: row.probability === null ? "" : `p ${shown(row.probability)}` }) : null,
      ),
    );
    const words = record.fallback
      ? `Every try failed; the candidate of ${judge.best} was taken.`
      : record.by === "score"
        ? `Best of ${plural(record.rejected.length + 1, "candidate")} by the scorer${record.replaced ? `, in place of ${label(record.replaced)}` : ""}.`
        : `Taken after ${plural(record.rejected.length, "rejection")}.`;
    this.rejections.replaceChildren(...lost, el("p", { class: "quiet", text: words }), el("table", {}, el("tbody", {}, ...body)));
  }

  /** A bar from 0 to 1 with an optional mark. */
  bar(share, mark = null) {
    return el(
      "span",
      { class: "bar", vars: { "--share": Number.isNaN(share) ? 0 : share.toFixed(4) } },
      mark === null ? null : el("span", { class: "bar-mark", vars: { "--at": mark.toFixed(4) } }),
    );
  }

  showLayers(view) {
    const { answer } = this;
    const values = answer.byLayer(view.measure, view.token);
    const top = Math.max(1e-9, ...values);
    const mean = answer.scores(view.measure, null)[view.token];
    this.layerTitle.replaceChildren(
      el("span", { text: `${view.rowName} by layer` }),
      el("span", { class: "quiet", text: view.layer === null ? "mean shown" : `layer ${answer.layers[view.layer]} shown` }),
    );
    const make = (text, value, layer) => {
      const chosen = layer === view.layer;
      return el(
        "button",
        {
          type: "button",
          class: "layer",
          role: "radio",
          "aria-checked": chosen,
          tabindex: chosen ? 0 : -1,
          "aria-label": `${layer === null ? "mean over layers" : `layer ${text}`}, ${view.rowName} ${shown(value)}`,
          title: `${layer === null ? "mean" : `layer ${text}`}: ${shown(value)}`,
          data: { layer: layer === null ? "mean" : text },
          vars: { "--share": mean === null ? 0 : ((value ?? 0) / top).toFixed(4) },
          on: { click: () => this.chooseLayer(layer === null ? null : answer.layers[layer]) },
        },
        el("span", { class: "column" }),
        el("span", { class: "layer-name", text }),
      );
    };
    const buttons = [make("mean", mean, null), ...values.map((value, at) => make(String(answer.layers[at]), value, at))];
    const active = this.layers.contains(document.activeElement);
    this.layers.classList.toggle("many", values.length > 12);
    this.layers.replaceChildren(...buttons);
    if (active) buttons.find((button) => button.tabIndex === 0)?.focus();
    if (view.layer !== null && !answer.hasLayers(view.measure)) {
      this.layers.append(el("p", { class: "quiet", text: "Maps and arcs stay means over the layers: the maps of single layers are not in this page." }));
    }
  }

  showGroups(view) {
    const groups = this.answer.groupsOf(view.measure, view.token, view.layer);
    this.groupTitle.replaceChildren(
      el("span", { text: `${view.rowKind} by context group` }),
      el("span", { class: "quiet", text: "share of the row, mean per position" }),
    );
    const rows = groups.map((group) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, el("span", { text: group.name }), el("span", { class: "quiet", text: ` ${group.size}` })),
        el("td", {}, this.bar(group.share)),
        el("td", { class: "number", text: percent(group.share) }),
        el("td", { class: "number quiet", text: shown(group.mean) }),
      ),
    );
    this.groups.replaceChildren(el("tbody", {}, ...rows));
  }
}

/** Of words that were given up: which, and why. */
function takenBack(lost, by) {
  const start = `Taken back: “${lost.text.trim()}”`;
  if (by === "risk") return `${start}, for “${lost.word}” had a risk of ${shown(lost.value)} and nothing less risky was a candidate.`;
  return lost.value === null ? `${start}.` : `${start}, which the model marked with a doubt of ${shown(lost.value)}.`;
}

/** Why a token was taken though nothing was rejected in its place. */
function fallbackOf(by) {
  return by === "doubt" ? "All tries were used up: the answer is what stood." : "Too risky, and nothing less risky was a candidate.";
}
