// A worker's labels, and the badge that says when its readings are made up.

import { html, memo } from "../lib/html.js";

export const Labels = memo(function Labels({ labels, source }) {
  return html`<span class="labels">
    ${source === "simulated" && html`<span class="tag tag-simulated">simulated</span>`}
    ${Object.entries(labels).map(([key, value]) => html`<span class="tag" key=${key}>${key}=${value}</span>`)}
  </span>`;
});
