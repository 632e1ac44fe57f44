// Elements, numbers and texts. Whatever comes from a model is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `text`, `on` (listeners), `data` (data-*), `class`, anything else an attribute. */
function el(name, options = {}, ...children) {
  return fill(document.createElement(name), options, children);
}

/** The same for SVG. */
function svg(name, options = {}, ...children) {
  return fill(document.createElementNS(SVG, name), options, children);
}

function fill(node, options, children) {
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue;
    if (key === "text") node.textContent = value;
    else if (key === "on") {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "vars") {
      for (const [name, entry] of Object.entries(value)) node.style.setProperty(name, entry);
    } else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A number for a reader: three significant digits, a dash where there is none. */
function shown(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  const text = size < 0.001 ? value.toExponential(1) : value.toPrecision(size < 0.01 ? 2 : 3);
  return text.replaceAll("-", "−");
}

function percent(share) {
  if (share === null || Number.isNaN(share)) return "–";
  const value = 100 * share;
  return `${value < 10 && value > 0 ? value.toFixed(1) : value.toFixed(0)} %`;
}

/** Split a token into leading space and body; white space alone gets a sign that can be seen. */
function parts(text) {
  const body = text.trimStart();
  const lead = text.slice(0, text.length - body.length);
  if (body) return { lead: lead.replace(/\n/g, "⏎"), body: body.replace(/\n/g, "⏎"), blank: false };
  return { lead: "", body: text.includes("\n") ? "⏎" : "␣", blank: true };
}

/** A token's text in a table or a label. */
function label(text) {
  const { body } = parts(text);
  return body;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
