// The data of the page: one byte a value, v = max * (byte / 255)^2, deflated, in base64.

const DATA = JSON.parse(document.getElementById("data").textContent);
const GROUPS = ["system", "image", "prompt", "output"];

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** One answer, with its maps unpacked when `ready` has resolved. */
class Answer {
  constructor(raw) {
    Object.assign(this, raw);
    this.first = this.positions.length - this.tokens.length; // text position of the first token
    this.arrays = null;
    this.loading = null;
    // the judged word that each token belongs to
    this.judged = this.tokens.map(() => null);
    for (const word of this.detection?.words ?? []) this.judged.fill(word, ...word.tokens);
    this.risks = this.judged.map((word) => word?.risk ?? null);
  }

  ready() {
    this.loading ??= inflate(this.packed.data).then((bytes) => {
      const arrays = {};
      let start = 0;
      for (const [name, about] of Object.entries(this.packed.arrays)) {
        const count = about.shape.reduce((product, size) => product * size, 1);
        const values = new Float32Array(count);
        for (let at = 0; at < count; at++) values[at] = about.max * (bytes[start + at] / 255) ** 2;
        arrays[name] = { shape: about.shape, values };
        start += count;
      }
      this.arrays = arrays;
    });
    return this.loading;
  }

  /** The name of a measure in the data: attention, or saliency under a fusion. */
  measure(kind, fusion) {
    if (kind === "attention") return "attention";
    return `saliency/${this.fusions.includes(fusion) ? fusion : this.fusion}`;
  }

  /** Place of a layer among those of the answer; null, which stands for their mean, without it. */
  layerAt(number) {
    const at = number === null ? -1 : this.layers.indexOf(number);
    return at < 0 ? null : at;
  }

  /** Whether the maps of single layers are there. */
  hasLayers(measure) {
    return this.layers.length === 1 || this.arrays[`text/${measure}`].shape[1] > 1;
  }

  /** One token's values, of a layer (an index) or the mean over layers. */
  row(name, token, layer) {
    const { shape, values } = this.arrays[name];
    const [, depth, width] = shape;
    const at = (index) => values.subarray((token * depth + index) * width, (token * depth + index + 1) * width);
    if (depth === 1) return at(0);
    if (layer !== null) return at(layer);
    const mean = new Float32Array(width);
    for (let index = 0; index < depth; index++) {
      const row = at(index);
      for (let column = 0; column < width; column++) mean[column] += row[column] / depth;
    }
    return mean;
  }

  /** What colors every token: its risk, or S, null where there is none. */
  colored(kind, measure, layer) {
    return kind === "risk" ? this.risks : this.scores(measure, layer);
  }

  /** S of every token, null where the context is empty. */
  scores(measure, layer) {
    const means = this.saliency[measure];
    if (layer === null) return means;
    const { shape, values } = this.arrays[`layers/${measure}`];
    return means.map((mean, token) => (mean === null ? null : values[token * shape[1] + layer]));
  }

  /** S of one token in every layer. */
  byLayer(measure, token) {
    const { shape, values } = this.arrays[`layers/${measure}`];
    return Array.from(values.subarray(token * shape[1], (token + 1) * shape[1]));
  }

  /** What one token draws from each context group: share of the row, and mean per position. */
  groupsOf(measure, token, layer) {
    const sums = this.row(`groups/${measure}`, token, layer);
    const total = sums.reduce((sum, value) => sum + value, 0);
    const sizes = [...this.groupSizes, token];
    return GROUPS.map((name, at) => ({
      name,
      size: sizes[at],
      share: sizes[at] && total ? sums[at] / total : NaN,
      mean: sizes[at] ? sums[at] / sizes[at] : NaN,
    }));
  }

  /** One token's values on the grid of one image. */
  patches(measure, token, layer, image) {
    const row = this.row(`image/${measure}`, token, layer);
    let start = 0;
    for (let before = 0; before < image; before++) {
      start += this.imageSizes[before][0] * this.imageSizes[before][1];
    }
    const [rows, columns] = this.imageSizes[image];
    return { rows, columns, values: row.subarray(start, start + rows * columns) };
  }
}

const SAMPLES = DATA.samples.map((sample) => ({
  ...sample,
  images: sample.images.map((at) => DATA.images[at]),
  answers: sample.answers.map((raw) => new Answer(raw)),
}));
