// A list of names and values.

import { html } from "../lib/html.js";

export function Readings({ entries }) {
  return html`<dl class="readings">
    ${entries.map(
      ([name, value, title]) => html`<div class="reading-line" key=${name} title=${title}>
        <dt>${name}</dt>
        <dd>${value}</dd>
      </div>`,
    )}
  </dl>`;
}
