// What is shown now, the controls, the keyboard and the list of answers.

const state = {
  sample: 0,
  left: undefined, // label of the answer; undefined: the first there is
  right: undefined, // undefined: the second there is, null: none
  active: 0,
  kind: "saliency",
  threshold: usualThreshold(), // from which risk on words are flagged
  fusion: null,
  layer: null, // number of a layer; null: their mean
  bare: false,
};
let sides = [];
let drawing = 0; // number of the last call of draw
let listed = null; // what the list was last drawn for

const app = document.getElementById("app");
const list = el("nav", { class: "answers", "aria-label": "Answers" });
const main = el("main", {});
const legendBox = el("div", { class: "legend-box" });
const help = new Help();
const kindButtons = [...MAPS, ...(hasRisks() ? ["risk"] : [])].map((kind) =>
  el("button", { type: "button", text: kind, data: { kind }, on: { click: () => setKind(kind) } }),
);
const fusionMenu = menu("Fusion", (value) => {
  state.fusion = value;
  refresh();
});
const slider = new Slider(state.threshold, (value) => {
  state.threshold = value;
  updateSides(); // the legend stays, or the slider would be let go of
  slider.update(value, answersOnPage());
});
const leftMenu = menu("Left", (value) => setSide("left", value));
const rightMenu = menu("Right", (value) => setSide("right", value || null));
// what is announced when the chosen token changes
const announcer = el("p", { class: "unseen", "aria-live": "polite" });

function menu(name, change) {
  const select = el("select", { "aria-label": name, on: { change: () => change(select.value) } });
  return el("label", { class: "menu" }, el("span", { text: name.toLowerCase() }), select);
}

/** Offer some values, where there is something to choose from. */
function offer(menu, values, chosen) {
  const select = menu.querySelector("select");
  select.replaceChildren(...values.map((value) => el("option", { value, text: value || "nothing" })));
  select.value = chosen;
  menu.hidden = values.length < 2;
}

function header() {
  const theme = el("button", { type: "button", class: "plain-button", text: "◐", title: "light or dark", "aria-label": "Light or dark", on: { click: toggleTheme } });
  const ask = el("button", { type: "button", class: "plain-button", text: "?", "aria-label": "Help", on: { click: () => help.toggle() } });
  return el(
    "header",
    { class: "top" },
    el("h1", {}, el("span", { text: DATA.title }), el("span", { class: "quiet", text: "lvlmsal explorer" })),
    el("div", { class: "controls" }, leftMenu, rightMenu, el("div", { class: "switch", role: "group", "aria-label": "Measure" }, ...kindButtons), fusionMenu, theme, ask),
  );
}

function footer() {
  const notes = [
    `All answers are judged by one definition of S: ${DATA.definition}.`,
    "Maps hold one byte a value on a square-root scale: no value is off by more than 0.4 % of the largest of its answer.",
    ...DATA.notes.map((note) => `To keep the page small, ${note}.`),
  ];
  return el("footer", {}, ...notes.map((text) => el("p", { class: "quiet", text })));
}

/** The one or two answers to a sample that are shown. */
function shownOf({ answers }) {
  const find = (name) => answers.find((answer) => answer.label === name);
  const left = find(state.left) ?? answers[0];
  if (state.right === null) return [left];
  const right = find(state.right) ?? answers.find((answer) => answer !== left);
  return right && right !== left ? [left, right] : [left];
}

/** Draw another sample, or other sides of it. */
async function draw() {
  const ticket = ++drawing;
  const sample = SAMPLES[state.sample];
  const answers = shownOf(sample);
  await Promise.all(answers.map((answer) => answer.ready()));
  if (ticket !== drawing) return; // another one was asked for meanwhile
  const act = { choose, kind: setKind, layer: setLayer, activate };
  sides.forEach((side) => side.text.watcher.disconnect());
  sides = answers.map((answer) => new Side(answer, sample.images, act));
  state.active = Math.min(state.active, sides.length - 1);
  const heading = el("div", { class: "sample-head" }, el("h2", { class: "question", text: sample.question }), el("p", { class: "quiet", text: sample.title }));
  main.replaceChildren(heading, el("div", { class: `sides ${sides.length > 1 ? "two" : "one"}` }, ...sides.map((side) => side.node)));
  main.dataset.sample = state.sample;
  const fusions = [...new Set(answers.flatMap((answer) => answer.fusions))];
  if (!fusions.includes(state.fusion)) state.fusion = answers[0].fusion;
  if (answers.every((answer) => answer.layerAt(state.layer) === null)) state.layer = null;
  const labels = sample.answers.map((answer) => answer.label);
  offer(fusionMenu, fusions, state.fusion);
  offer(leftMenu, labels, answers[0].label);
  offer(rightMenu, labels.length > 1 ? ["", ...labels] : [], answers[1]?.label ?? "");
  refresh();
}

/** Show the state in what is drawn. */
function refresh() {
  const scale = updateSides();
  const verb = rowKind() === "saliency" ? "rests on" : "attends to";
  const rest = `The outlined word is chosen: arcs and bars lead to what it ${verb}.`;
  if (state.kind === "risk") {
    slider.update(state.threshold, answersOnPage());
    showLegend(scale.legend("risk of a word"), slider.node, `${riskMeaning(sides.map((side) => side.answer))} ${rest}`);
  } else {
    const layer = state.layer === null ? "mean over layers" : `layer ${state.layer}`;
    const quantity = state.kind === "saliency" ? "S of a word" : "attention of a word to its context";
    const meaning = `Dark: a word ${verb} little of ${DATA.context}; pale: ${verb} much.`;
    showLegend(scale.legend(`${quantity}, ${DATA.row} row, ${layer}`), null, `${meaning} ${rest}`);
  }
  kindButtons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.kind === state.kind));
  drawList();
}

/** Words are colored by risk; arcs, bars and maps show the saliency of the chosen one all the same. */
function rowKind() {
  return state.kind === "attention" ? "attention" : "saliency";
}

/** The scale of their colors. */
function updateSides() {
  const { kind, fusion, layer, bare, threshold } = state;
  const scale = scaleOf(sides.map((side) => side.answer), layer);
  const shared = { kind, fusion, layer, bare, threshold, scale, name: NAMES[kind], rowKind: rowKind(), rowName: NAMES[rowKind()] };
  sides.forEach((side, at) => {
    side.update(shared);
    side.node.classList.toggle("active", sides.length > 1 && at === state.active);
  });
  return scale;
}

function showLegend(legend, control, meaning) {
  legendBox.replaceChildren();
  fill(legendBox, {}, [legend, control, marks(), el("p", { class: "meaning", text: meaning })]);
}

function scoresOf(answer, layer) {
  return answer.colored(state.kind, answer.measure(state.kind, state.fusion), answer.layerAt(layer));
}

function scaleOf(answers, layer) {
  if (state.kind === "risk") return new Scale([1], true);
  return new Scale(answers.flatMap((answer) => scoresOf(answer, layer)));
}

/** The answers of all samples that stand, or would stand, on the sides. */
function answersOnPage() {
  return SAMPLES.flatMap((sample) => shownOf(sample));
}

function marks() {
  if (!SAMPLES.some((sample) => sample.answers.some((answer) => answer.hallucinated))) return null;
  const word = (mark) => el("span", { class: "word", text: "word", data: { mark } });
  const texts = ["names an object that is not in the image", "one that is"].map((text) => el("span", { text }));
  return el("p", { class: "marks" }, word("absent"), texts[0], word("present"), texts[1]);
}

function drawList() {
  const now = JSON.stringify([state.sample, state.kind, state.fusion, state.left, state.right, isDark()]);
  if (listed === now) return;
  listed = now;
  const scale = scaleOf(SAMPLES.flatMap((sample) => sample.answers), null);
  const entries = SAMPLES.map((sample, at) => {
    const current = at === state.sample;
    const lines = shownOf(sample).map((answer) => barcode(answer, scoresOf(answer, null), scale));
    const image = sample.images[0];
    return el(
      "button",
      { type: "button", class: "entry", "aria-current": current ? "true" : null, data: { sample: at }, on: { click: () => setSample(at) } },
      image ? el("img", { src: image.src, alt: "" }) : null,
      el("span", { class: "entry-text" }, el("span", { class: "entry-title", text: sample.title }), el("span", { class: "entry-words", text: sample.answers[0].text }), ...lines),
    );
  });
  const active = list.contains(document.activeElement);
  const top = list.scrollTop;
  list.replaceChildren(...entries);
  list.scrollTop = top;
  if (active) entries[state.sample].focus();
  list.hidden = SAMPLES.length < 2;
}

function choose(side, token) {
  side.token = token;
  state.active = sides.indexOf(side);
  refresh();
  if (document.activeElement?.closest?.(".side") || document.activeElement === document.body) side.text.focus();
  announce(side);
}

function announce(side) {
  const { answer, token } = side;
  const score = scoresOf(answer, state.layer)[token];
  announcer.textContent = `${label(answer.tokens[token])}, ${NAMES[state.kind]} ${shown(score)}`;
}

function activate(side) {
  state.active = sides.indexOf(side);
  sides.forEach((one, at) => one.node.classList.toggle("active", sides.length > 1 && at === state.active));
}

function setSample(at) {
  if (at < 0 || at >= SAMPLES.length || at === state.sample) return;
  state.sample = at;
  draw().then(() => list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }));
}

function setSide(place, value) {
  state[place] = value;
  draw();
}

function setKind(kind) {
  state.kind = kind;
  refresh();
}

function setLayer(layer) {
  state.layer = layer;
  refresh();
}

function stepLayer(step) {
  const choices = [null, ...sides[state.active].answer.layers];
  const place = Math.max(choices.indexOf(state.layer), 0) + step;
  setLayer(choices[(place + choices.length) % choices.length]);
}

function toggleTheme() {
  const root = document.documentElement;
  root.dataset.theme = isDark() ? "light" : "dark";
  refresh();
}

function move(step) {
  const side = sides[state.active];
  side.move(step);
  choose(side, side.token);
}

const ACTIONS = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  Home: () => move(-Infinity),
  End: () => move(Infinity),
  ArrowUp: () => setSample(state.sample - 1),
  ArrowDown: () => setSample(state.sample + 1),
  k: () => setSample(state.sample - 1),
  j: () => setSample(state.sample + 1),
  n: () => {
    const side = sides[state.active];
    const next = side.nextAbsent();
    if (next >= 0) choose(side, next);
  },
  a: () => setKind(state.kind === "saliency" ? "attention" : "saliency"),
  r: () => {
    if (hasRisks()) setKind(state.kind === "risk" ? "saliency" : "risk");
  },
  l: () => stepLayer(1),
  L: () => stepLayer(-1),
  m: () => setLayer(null),
  s: () => {
    activate(sides[(state.active + 1) % sides.length]);
    sides[state.active].text.focus();
  },
  o: () => {
    state.bare = !state.bare;
    refresh();
  },
  t: toggleTheme,
  "?": () => help.toggle(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !sides.length) return;
  const within = event.target instanceof Element ? event.target : document.body;
  if (within.closest("select, dialog, input") && event.key !== "?") return;
  if (within.closest(".layers") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    // within the layers the arrows go from layer to layer, as in any group of radio buttons
    event.preventDefault();
    stepLayer(event.key === "ArrowLeft" ? -1 : 1);
    return;
  }
  if (!Object.hasOwn(ACTIONS, event.key)) return;
  event.preventDefault();
  ACTIONS[event.key]();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
app.append(header(), el("div", { class: "layout" }, list, el("div", { class: "stage" }, legendBox, main, footer())), help.node, announcer);
draw();
