// The cells of a row's readings, a worker's or a card's, in those columns that are shown.

import { bytes, celsius, percent, share, watts } from "../lib/format.js";
import { html } from "../lib/html.js";
import { Age } from "./age.js";
import { Meter } from "./meter.js";

export const HOT_FROM_C = 85;

export function ReadingCells({ shown, utilization, memoryUsed, memoryTotal, temperature, power, seen }) {
  const memory = share(memoryUsed, memoryTotal);
  return html`
    ${shown.has("utilization") &&
    html`<div class="cell cell-utilization reading" role="cell">
      <span>${percent(utilization)}</span>
      <${Meter} value=${utilization} label=${`utilization ${percent(utilization)}`} />
    </div>`}
    ${shown.has("memory") &&
    html`<div class="cell cell-memory reading" role="cell">
      <span title=${`of ${bytes(memoryTotal)}`}>${bytes(memoryUsed)}</span>
      <${Meter} value=${memory} label=${`memory ${percent(memory)}`} tone="memory" />
    </div>`}
    ${shown.has("temperature") &&
    html`<div class="cell cell-temperature reading ${temperature >= HOT_FROM_C ? "is-hot" : ""}" role="cell">${celsius(temperature)}</div>`}
    ${shown.has("power") && html`<div class="cell cell-power reading" role="cell">${watts(power)}</div>`}
    ${shown.has("seen") && html`<div class="cell cell-seen" role="cell"><${Age} at=${seen} /></div>`}
  `;
}
