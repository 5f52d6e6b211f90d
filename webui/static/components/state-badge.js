// A worker's or command target's state: shape, word and colour, so that none has to be told by colour alone.

import { STATE_WORDS } from "../lib/fleet.js";
import { html } from "../lib/html.js";

const DISC = html`<circle cx="6" cy="6" r="5" />`;
const RING = html`<circle cx="6" cy="6" r="4" class="outlined" />`;
const HALF = html`<circle cx="6" cy="6" r="4" class="outlined" /><path d="M6 2a4 4 0 0 1 0 8z" />`;
const TRIANGLE = html`<path d="M6 .8 11.6 11H.4z" />`;
const LOST = html`<path d="M6 .8 11.6 11H.4z" class="outlined" /><path d="m4.4 5.8 3.2 3.2m0-3.2L4.4 9" class="outlined thin" />`;
const MOON = html`<path d="M9.8 7.6A4.6 4.6 0 1 1 5 1.6a3.7 3.7 0 0 0 4.8 6z" />`;
const SQUARE = html`<rect x="1.5" y="1.5" width="9" height="9" rx="1.5" />`;
const CROSS = html`<path d="m2 2 8 8m0-8-8 8" class="outlined" />`;
const TICK = html`<path d="m1.5 6.5 3 3 6-7" class="outlined" />`;

const SHAPES = {
  online: [DISC, "good"],
  stale: [HALF, "warn"],
  gpu_lost: [LOST, "bad"],
  degraded: [TRIANGLE, "warn"],
  offline: [RING, "bad"],
  sent: [RING, "quiet"],
  running: [HALF, "active"],
  finished: [TICK, "good"],
  failed: [CROSS, "bad"],
  timeout: [SQUARE, "bad"],
  cancelled: [SQUARE, "quiet"],
  refused: [CROSS, "bad"],
  expired: [SQUARE, "warn"],
  lost: [TRIANGLE, "bad"],
  ok: [DISC, "good"],
  free: [RING, "good"],
  busy: [DISC, "active"],
  held: [HALF, "warn"],
  asleep: [MOON, "quiet"],
  error: [TRIANGLE, "bad"],
  unknown: [RING, "quiet"],
};

export function StateBadge({ state, word }) {
  const [shape, tone] = SHAPES[state] ?? SHAPES.unknown;
  return html`<span class="state tone-${tone}">
    <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">${shape}</svg>
    <span>${word ?? STATE_WORDS[state] ?? state}</span>
  </span>`;
}
