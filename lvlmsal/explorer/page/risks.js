// Risks of words: the threshold from which on they are flagged, how many are, and the reasons.

const NAMES = { saliency: "S", attention: "attention", risk: "risk" };
const RISK_MEANINGS = {
  chance: "the chance of being wrong, as far as other answers are like the labeled ones",
  share: "the share of the model's own words that score lower, no probability",
  number: "the detector's own number, no probability",
  decoder: "as it judged the word before that was said",
};
const RISK_HELP =
  "Risk is what a detector of wrong words says of a word, from 0 to 1; all but the judged words have none. Words at the threshold or above it are flagged by a bar below them; the slider moves it. What the risk of the chosen word is made of stands below its record.";

function hasRisks() {
  return SAMPLES.some((sample) => sample.answers.some((answer) => answer.detection));
}

/** The threshold of the first answer that has one. */
function usualThreshold() {
  const known = SAMPLES.flatMap((sample) => sample.answers.map((answer) => answer.detection?.threshold));
  return known.find((threshold) => threshold !== undefined && threshold !== null) ?? 0.5;
}

/** What colors mean, by each detector whose risks the answers show. */
function riskMeaning(answers) {
  const found = answers.filter((answer) => answer.detection).map(({ detection }) => `Risk by ${nameOf(detection)}: ${RISK_MEANINGS[detection.kind]}.`);
  return ["Dark: probably wrong; words without a color were not judged.", ...new Set(found)].join(" ");
}

function nameOf(detection) {
  return detection.detector ?? "the decoder's detector";
}

/** Counts over judged words: flagged ones, and where the truth is known which of them are wrong. */
function counted(answers, threshold) {
  const found = { judged: 0, flagged: 0, known: 0, wrong: 0, flaggedKnown: 0, flaggedWrong: 0 };
  for (const answer of answers) {
    for (const { tokens, risk } of answer.detection?.words ?? []) {
      const flagged = risk >= threshold;
      const truth = answer.hallucinated?.[tokens[0]];
      found.judged += 1;
      found.flagged += flagged;
      if (truth === undefined || truth === null) continue;
      found.known += 1;
      found.wrong += truth;
      found.flaggedKnown += flagged;
      found.flaggedWrong += flagged && truth;
    }
  }
  return found;
}

function countsText(counts) {
  const flagged = `${counts.flagged} of ${plural(counts.judged, "judged word")} flagged on this page`;
  if (!counts.known) return `${flagged}.`;
  const precision = counts.flaggedKnown ? counts.flaggedWrong / counts.flaggedKnown : NaN;
  const recall = counts.wrong ? counts.flaggedWrong / counts.wrong : NaN;
  return (
    `${flagged}; of the flagged ones ${counts.flaggedWrong} name an absent object (${percent(precision)}), ` +
    `which is ${percent(recall)} of the ${counts.wrong} that do.`
  );
}

/** The slider of the threshold. `change(value)` is called as it moves. */
class Slider {
  constructor(value, change) {
    const act = () => change(Number(this.input.value));
    this.input = el("input", { type: "range", min: 0, max: 1, step: 0.005, value, "aria-label": "Threshold of the risk", on: { input: act } });
    this.output = el("output", {});
    this.counts = el("p", { class: "counts", "aria-live": "polite" });
    this.node = el("div", { class: "risk-slider" }, el("span", { text: "flagged from" }), this.input, this.output, this.counts);
  }

  update(threshold, answers) {
    this.output.textContent = shown(threshold);
    this.counts.textContent = countsText(counted(answers, threshold));
  }
}

/** The risk of the chosen word and what it is made of, larger where it speaks for a wrong word. */
function reasonsOf(answer, token, threshold) {
  const word = answer.judged[token];
  if (!word || !answer.detection.detector) return [];
  const flagged = word.risk >= threshold ? "flagged" : "not flagged";
  const words = `Risk ${shown(word.risk)} by ${answer.detection.detector}, ${flagged}: ${RISK_MEANINGS[answer.detection.kind]}.`;
  const reasons = Object.entries(word.reasons);
  const top = Math.max(1e-9, ...reasons.map(([, value]) => Math.abs(value ?? 0)));
  const rows = reasons.map(([name, value]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", text: name }),
      el("td", {}, el("span", { class: `bar${value < 0 ? " against" : ""}`, vars: { "--share": (Math.abs(value ?? 0) / top).toFixed(4) } })),
      el("td", { class: "number", text: (value > 0 ? "+" : "") + shown(value) }),
    ),
  );
  return [el("p", { class: "quiet", text: words }), el("table", {}, el("tbody", {}, ...rows))];
}
