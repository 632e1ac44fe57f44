// One answer with everything that belongs to it; two of them stand side by side.

class Side {
  constructor(answer, images, act) {
    this.answer = answer;
    // where there is most to see: at the first name of an object that is not there
    this.token = Math.max(answer.hallucinated?.indexOf(true) ?? 0, 0);
    this.text = new TokenText(answer, (token) => act.choose(this, token));
    this.maps = new ImageMaps(answer, images, act.kind);
    this.strips = new Strips(answer, (token) => act.choose(this, token));
    this.panel = new Panel(answer, act.layer);
    this.node = el(
      "article",
      { class: "side", "aria-label": answer.label },
      el("header", { class: "side-head" }, el("h2", { text: answer.label }), el("p", { class: "quiet", text: this.summary() })),
      this.maps.node,
      el("div", { class: "reading" }, this.text.node, this.panel.aside),
      this.strips.node,
      this.panel.details,
      el("p", { class: "options quiet", text: answer.options }),
    );
    this.node.addEventListener("pointerdown", () => act.activate(this));
  }

  summary() {
    const words = [plural(this.answer.tokens.length, "token")];
    const absent = this.answer.hallucinated?.filter((found) => found === true).length;
    if (absent !== undefined) words.push(absent ? `${absent} in names of absent objects` : "no absent object");
    const rejected = this.answer.records?.reduce((sum, one) => sum + one.rejected.length, 0);
    if (rejected) words.push(plural(rejected, "rejected candidate"));
    const lost = this.answer.records?.reduce((sum, one) => sum + one.takenBack.length, 0);
    if (lost) words.push(`${plural(lost, JUDGES[this.answer.records[0].by].lost)} taken back`);
    return words.join(" · ");
  }

  /** To the next word that names an absent object, round the end. */
  nextAbsent() {
    const found = this.answer.hallucinated ?? [];
    const later = found.indexOf(true, this.token + 1);
    return later < 0 ? found.indexOf(true) : later;
  }

  move(step) {
    const last = this.answer.tokens.length - 1;
    this.token = Math.min(Math.max(this.token + step, 0), last);
  }

  update(shared) {
    const { answer } = this;
    const measure = answer.measure(shared.kind, shared.fusion);
    const layer = answer.layerAt(shared.layer);
    const view = { ...shared, measure, layer, token: this.token };
    this.text.update(view);
    this.maps.update(view);
    this.strips.update(view);
    this.panel.update(view);
    this.node.classList.toggle("bare", shared.bare);
  }
}
