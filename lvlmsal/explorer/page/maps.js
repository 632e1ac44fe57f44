// Image maps: the image, and on a gray copy of it the patch grid colored by one token's values, the
// largest ones least transparent.

const MAPS = ["saliency", "attention"];

class ImageMaps {
  constructor(answer, images, choose) {
    this.answer = answer;
    this.images = images;
    this.maps = [];
    this.node = el("div", { class: "maps" });
    images.forEach((image, at) => {
      const row = el("div", { class: "map-row" }, this.plain(image, at));
      for (const kind of MAPS) row.append(this.map(image, at, kind, choose));
      this.node.append(row);
    });
  }

  frame(image, ...children) {
    return el(
      "div",
      { class: "frame", vars: { "--ratio": `${image.width} / ${image.height}` } },
      el("img", { src: image.src, alt: "", width: image.width, height: image.height }),
      ...children,
    );
  }

  plain(image, at) {
    const name = this.images.length > 1 ? `image ${at + 1}` : "image";
    const [rows, columns] = this.answer.grids[at];
    const node = el(
      "figure",
      { class: "map plain" },
      this.frame(image),
      el("figcaption", {}, el("span", { text: name }), el("span", { class: "quiet", text: `${rows} × ${columns} patches` })),
    );
    node.querySelector("img").alt = `The ${name} that was asked about`;
    return node;
  }

  map(image, at, kind, choose) {
    const canvas = el("canvas", { role: "img" });
    const number = el("span", { class: "quiet" });
    const grid = el("div", { class: "grid" });
    const frame = this.frame(image, canvas, grid);
    const node = el(
      "figure",
      { class: "map heat", data: { kind }, on: { click: () => choose(kind) } },
      frame,
      el("figcaption", {}, el("span", { text: kind }), number),
    );
    const map = { at, kind, canvas, number, grid, node };
    frame.addEventListener("pointermove", (event) => this.read(map, event, frame));
    frame.addEventListener("pointerleave", () => this.caption(map));
    this.maps.push(map);
    return node;
  }

  update(view) {
    for (const map of this.maps) {
      const measure = this.answer.measure(map.kind, view.fusion);
      const { rows, columns, values } = this.answer.patches(measure, view.token, view.layer, map.at);
      Object.assign(map, { rows, columns, values, largest: Math.max(...values) });
      map.canvas.width = columns;
      map.canvas.height = rows;
      map.grid.style.setProperty("--columns", columns);
      map.grid.style.setProperty("--rows", rows);
      map.node.classList.toggle("current", map.kind === view.kind);
      const pixels = map.canvas.getContext("2d").createImageData(columns, rows);
      values.forEach((value, place) => {
        const share = map.largest ? value / map.largest : 0;
        pixels.data.set([...color(share), 150 + 90 * share], 4 * place);
      });
      map.canvas.getContext("2d").putImageData(pixels, 0, 0);
      this.caption(map);
    }
  }

  caption(map) {
    const place = map.values.indexOf(map.largest);
    map.number.textContent = `0 to ${shown(map.largest)}`;
    map.canvas.setAttribute(
      "aria-label",
      `${map.kind} on the image, largest ${shown(map.largest)} in row ${Math.floor(place / map.columns) + 1}, ` +
        `column ${(place % map.columns) + 1} of ${map.rows} by ${map.columns}`,
    );
  }

  read(map, event, frame) {
    const box = frame.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * map.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * map.rows);
    if (column < 0 || row < 0 || column >= map.columns || row >= map.rows) return;
    map.number.textContent = `${row + 1}, ${column + 1}: ${shown(map.values[row * map.columns + column])}`;
  }
}
