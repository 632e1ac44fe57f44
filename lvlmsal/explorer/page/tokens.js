// The question and the answer as running text; arcs and bars show what the chosen token rests on.

const ARCS = 7;

// what goes on with the word before it; scripts that write without spaces may break anywhere
const JOINED = /^[\p{Script=Latin}\p{N}\p{P}]/u;

/** Question and answer of one side. `choose(token)` is called when a token is clicked. */
class TokenText {
  constructor(answer, choose) {
    this.answer = answer;
    this.nodes = answer.positions.map((text, at) => this.token(text, at, choose));
    this.image = el("span", { class: "chip" });
    this.arcs = svg("svg", { class: "arcs", "aria-hidden": "true" });
    const { first } = answer;
    const afterImage = answer.groups.findIndex((group) => group !== "system");
    const cut = answer.groupSizes[1] ? afterImage : 0;
    this.node = el(
      "div",
      { class: "flow" },
      el(
        "div",
        { class: "prompt-text", "aria-label": "Prompt" },
        ...this.flow(0, cut),
        answer.groupSizes[1] ? this.image : null,
        ...this.flow(cut, first),
      ),
      el(
        "div",
        { class: "answer-text", role: "listbox", "aria-label": `Tokens of the answer: ${answer.label}` },
        ...this.flow(first, this.nodes.length),
      ),
      this.arcs,
    );
    this.watcher = new ResizeObserver(() => this.drawArcs());
    this.watcher.observe(this.node);
  }

  token(text, at, choose) {
    const { body, blank } = parts(text);
    const token = at - this.answer.first;
    if (token < 0) return el("span", { class: "word", text: body, title: this.answer.groups[at] });
    const found = this.answer.hallucinated?.[token];
    return el("span", {
      class: `word token${blank ? " blank" : ""}`,
      role: "option",
      text: body,
      data: { token, mark: found === true ? "absent" : found === false ? "present" : "" },
      on: { click: () => choose(token) },
    });
  }

  /** Tokens with the white space between them; the tokens of one word stay on one line. */
  flow(start, end) {
    const nodes = [];
    let word = null;
    for (let at = start; at < end; at++) {
      const { lead, body } = parts(this.answer.positions[at]);
      // the first word of a line needs no space in front of it
      if (lead && at > start) nodes.push(document.createTextNode(lead.includes("⏎") ? " ⏎ " : " "));
      if (lead || !word || !JOINED.test(body)) {
        word = el("span", { class: "joined" });
        nodes.push(word);
      }
      word.append(this.nodes[at]);
      if (this.answer.positions[at].includes("\n") && at < end - 1) nodes.push(el("br"));
    }
    return nodes;
  }

  /** Color by S, then what the chosen token rests on. */
  update(view) {
    const { answer } = this;
    const { token, scale, measure, layer } = view;
    const scores = answer.colored(view.kind, measure, layer);
    const row = answer.row(`text/${measure}`, token, layer);
    this.links = this.strongest(row, token);
    const largest = this.links.length ? this.links[0].value : 0;
    this.nodes.forEach((node, at) => {
      const place = at - answer.first;
      if (place >= 0) this.paint(node, place, scores[place], scale, view);
      const visible = place < token || (place === token && row[at] > 0);
      const height = visible && largest ? Math.min(row[at] / largest, 1) : 0;
      node.style.setProperty("--bar", height.toFixed(3));
      node.classList.toggle("later", place > token);
    });
    const [, image] = answer.groupsOf(measure, token, layer);
    this.image.textContent = `image ${answer.grids.map((grid) => grid.join("×")).join(", ")} · ${percent(image.share)}`;
    this.from = token;
    this.drawArcs();
  }

  paint(node, place, score, scale, view) {
    const chosen = place === view.token;
    node.setAttribute("aria-selected", chosen);
    node.tabIndex = chosen ? 0 : -1;
    const flagged = view.kind === "risk" && score !== null && score >= view.threshold;
    node.dataset.flag = flagged ? "flagged" : "";
    const truth = { absent: ", not in the image", present: ", in the image" }[node.dataset.mark] ?? "";
    const mark = (flagged ? ", flagged" : "") + truth;
    node.setAttribute("aria-label", `${label(this.answer.tokens[place])}, ${view.name} ${shown(score)}${mark}`);
    node.title = `${view.name} ${shown(score)}${mark}`;
    if (score === null) {
      node.style.removeProperty("--fill");
      node.style.removeProperty("--text");
    } else {
      const rgb = scale.rgb(score);
      node.style.setProperty("--fill", css(rgb));
      node.style.setProperty("--text", inkOn(rgb));
    }
  }

  /** The earlier words, system prompt aside, with the largest values. */
  strongest(row, token) {
    const links = [];
    for (let at = 0; at < this.answer.first + token; at++) {
      if (this.answer.groups[at] !== "system" && row[at] > 0) links.push({ at, value: row[at] });
    }
    return links.sort((a, b) => b.value - a.value).slice(0, ARCS);
  }

  drawArcs() {
    if (!this.links || !this.node.isConnected) return;
    const box = this.node.getBoundingClientRect();
    this.arcs.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const place = (node) => {
      const area = node.getBoundingClientRect();
      return { x: (area.left + area.right) / 2 - box.left, top: area.top - box.top, bottom: area.bottom - box.top };
    };
    const to = place(this.nodes[this.answer.first + this.from]);
    const largest = this.links.length ? this.links[0].value : 1;
    const paths = this.links.map(({ at, value }) => {
      const from = place(this.nodes[at]);
      const share = value / largest;
      return svg("path", {
        d: this.curve(from, to),
        "stroke-width": (0.75 + 2.25 * share).toFixed(2),
        opacity: (0.25 + 0.7 * share).toFixed(2),
      });
    });
    this.arcs.replaceChildren(...paths);
  }

  /** Over the words within a line; from foot to head between lines. */
  curve(from, to) {
    if (Math.abs(from.top - to.top) < 6) {
      const height = Math.min(6 + Math.abs(to.x - from.x) * 0.08, 22);
      return `M${from.x} ${from.top}C${from.x} ${from.top - height} ${to.x} ${to.top - height} ${to.x} ${to.top}`;
    }
    const start = from.bottom + 6;
    const reach = Math.max((to.top - start) * 0.5, 14);
    return `M${from.x} ${start}C${from.x} ${start + reach} ${to.x} ${to.top - reach} ${to.x} ${to.top}`;
  }

  focus() {
    this.nodes[this.answer.first + this.from].focus({ preventScroll: false });
  }
}
