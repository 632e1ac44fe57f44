// The color scale: RAMPS is that of lvlmsal/colors.py, with which this file agrees.

const CHANNELS = Object.fromEntries(
  Object.entries(RAMPS).map(([name, ramp]) => [
    name,
    ramp.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16))),
  ]),
);

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Red, green and blue of a share from 0 to 1. */
function color(share) {
  const ramp = CHANNELS[isDark() ? "dark" : "light"];
  const place = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const low = Math.min(Math.floor(place), ramp.length - 2);
  return ramp[low].map((from, at) => Math.round(from + (place - low) * (ramp[low + 1][at] - from)));
}

function css(rgb) {
  return `rgb(${rgb.join(" ")})`;
}

/** Black or white, whichever stands out more on a color. */
function inkOn(rgb) {
  const [r, g, b] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? "#111" : "#fff";
}

/** A scale from 0 to a top; of risks it is turned round, so that what is suspicious is dark. */
class Scale {
  constructor(values, turned = false) {
    this.turned = turned;
    const known = values.filter((value) => value !== null).sort((a, b) => a - b);
    // the few largest values would take the scale for themselves
    const top = known.length ? known[Math.floor(0.98 * (known.length - 1))] : 1;
    this.clipped = known.length > 0 && known[known.length - 1] > top;
    this.top = top || 1;
  }

  share(value) {
    return Math.min(Math.max(value / this.top, 0), 1);
  }

  rgb(value) {
    return this.at(this.share(value));
  }

  at(share) {
    return color(this.turned ? 1 - share : share);
  }

  legend(title) {
    const bar = el("canvas", { class: "legend-bar", width: 128, height: 1, "aria-hidden": "true" });
    const pen = bar.getContext("2d");
    for (let x = 0; x < 128; x++) {
      pen.fillStyle = css(this.at(x / 127));
      pen.fillRect(x, 0, 1, 1);
    }
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) =>
      el("span", {
        text: (share === 1 && this.clipped ? "≥ " : "") + shown(this.top * share),
        vars: { "--at": share },
      }),
    );
    return el(
      "div",
      { class: "legend", role: "img", "aria-label": `${title}, from 0 to ${shown(this.top)}` },
      el("span", { class: "legend-title", text: title }),
      el("div", { class: "legend-scale" }, bar, el("div", { class: "legend-ticks" }, ...ticks)),
    );
  }
}
