// Small charts along the answer: S, log-probability and entropy, one column a token.

const STRIP = 1000; // width of a strip in its own units; it is stretched to the page

class Strips {
  constructor(answer, choose) {
    this.answer = answer;
    this.rows = [
      { name: "S", unit: "", height: 40, values: () => this.scores },
      { name: "log p", unit: "", height: 26, values: () => answer.logProbability },
      { name: "entropy", unit: "nats", height: 26, values: () => answer.entropy },
    ];
    this.node = el("div", { class: "strips", "aria-hidden": "true" });
    for (const row of this.rows) {
      row.plot = svg("svg", { viewBox: `0 0 ${STRIP} ${row.height}`, preserveAspectRatio: "none", class: "strip" });
      row.plot.addEventListener("click", (event) => {
        const box = row.plot.getBoundingClientRect();
        const place = Math.floor(((event.clientX - box.left) / box.width) * answer.tokens.length);
        choose(Math.min(Math.max(place, 0), answer.tokens.length - 1));
      });
      row.number = el("span", { class: "strip-number" });
      row.title = el("span", { class: "strip-name", text: row.name });
      this.node.append(row.title, row.plot, row.number);
    }
  }

  update(view) {
    this.scores = this.answer.scores(view.measure, view.layer);
    const step = STRIP / this.answer.tokens.length;
    for (const row of this.rows) {
      const values = row.values();
      const known = values.filter((value) => value !== null);
      if (row.name === "S") row.title.textContent = view.rowName;
      const top = Math.max(1e-9, ...known.map(Math.abs));
      const shapes = [svg("rect", { class: "cursor", x: view.token * step, y: 0, width: step, height: row.height })];
      values.forEach((value, at) => {
        if (value === null) return;
        const size = (Math.abs(value) / top) * (row.height - 3);
        shapes.push(
          svg("rect", {
            class: at === view.token ? "strip-bar chosen" : "strip-bar",
            x: at * step + 0.12 * step,
            width: 0.76 * step,
            // what is negative hangs from above
            y: value < 0 ? 1 : row.height - 1 - size,
            height: Math.max(size, 0.5),
          }),
        );
      });
      if (row.name === "S") {
        this.answer.hallucinated?.forEach((found, at) => {
          if (found) shapes.push(svg("rect", { class: "strip-mark", x: at * step, y: row.height - 1, width: step, height: 1 }));
        });
      }
      row.plot.replaceChildren(...shapes);
      row.number.textContent = shown(values[view.token]);
    }
  }
}

/** The whole answer as one line of colors, for the list. */
function barcode(answer, scores, scale) {
  const count = answer.tokens.length;
  const canvas = el("canvas", { class: "barcode", width: 2 * count, height: 10, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  scores.forEach((score, at) => {
    if (score !== null) {
      pen.fillStyle = css(scale.rgb(score));
      pen.fillRect(2 * at, 0, 2, 7);
    }
    if (answer.hallucinated?.[at]) {
      pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
      pen.fillRect(2 * at, 8, 2, 2);
    }
  });
  return canvas;
}
