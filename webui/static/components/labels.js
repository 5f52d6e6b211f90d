// A worker's labels, and the badge that says when its readings are made up.

import { html } from "../lib/html.js";

export function Labels({ labels, source }) {
  const isSimulated = source === "simulated";
  const all = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return html`<span class="labels" title=${all.join("\n")}>
    ${isSimulated && html`<span class="tag tag-simulated">simulated</span>`}
    ${all.map((label) => html`<span class="tag" key=${label}>${label}</span>`)}
  </span>`;
}
