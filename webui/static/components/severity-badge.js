// How much an alert matters: shape, word and colour, so that none has to be told by colour alone.

import { html } from "../lib/html.js";

const SHAPES = {
  page: [html`<path d="M4 .5h6L13.5 4v6L10 13.5H4L.5 10V4z" /><path class="severity-sign" d="M7 3.4v4.2M7 9.3v1.4" />`, "bad"],
  warning: [html`<path d="M7 .8 13.6 13H.4z" /><path class="severity-sign" d="M7 5v3.6M7 10v1.4" />`, "warn"],
  note: [html`<circle cx="7" cy="7" r="5.7" class="outlined" /><path d="M7 3.4v1.3M7 6.2v4.4" class="outlined" />`, "active"],
};

export function SeverityMark({ severity, size = 14 }) {
  const [shape, tone] = SHAPES[severity] ?? SHAPES.note;
  return html`<span class="state severity tone-${tone}">
    <svg viewBox="0 0 14 14" width=${size} height=${size} aria-hidden="true">${shape}</svg>
  </span>`;
}

export function SeverityBadge({ severity }) {
  const [shape, tone] = SHAPES[severity] ?? SHAPES.note;
  return html`<span class="state severity tone-${tone}">
    <svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">${shape}</svg>
    <span>${severity}</span>
  </span>`;
}
