// A bar for a reading that has a whole: utilization, memory, power.

import { html } from "../lib/html.js";

/** `value` is in percent; null draws an empty track. */
export function Meter({ value, label, tone = "load" }) {
  const shown = value === null || value === undefined ? 0 : Math.min(Math.max(value, 0), 100);
  return html`<span class="meter" role="img" aria-label=${label}>
    <span class="meter-fill meter-${tone}" style=${{ width: `${shown}%` }}></span>
  </span>`;
}
