// A worker's name and state, and what is wrong with it.

import { html } from "../lib/html.js";
import { Age } from "./age.js";
import { Labels } from "./labels.js";
import { StateBadge } from "./state-badge.js";

export function WorkerHead({ row, info }) {
  const hostname = row.hostname !== null && row.hostname !== row.id ? row.hostname : null;
  return html`<header class="worker-head">
    <nav class="crumbs" aria-label="Where this is"><a href="/">Fleet</a></nav>
    <div class="worker-title">
      <span class="page-title">${row.id}</span>
      <${StateBadge} state=${row.state} />
      <${Labels} labels=${row.labels} source=${row.source} />
    </div>
    <p class="quiet">
      ${hostname && html`<span>${hostname} · </span>`}${info?.os && html`<span>${info.os} · </span>`}last seen${" "}
      <${Age} at=${row.last_seen} />
    </p>
    ${row.problems.length > 0 &&
    html`<ul class="problems">
      ${row.problems.map((problem) => html`<li key=${problem}>${problem}</li>`)}
    </ul>`}
  </header>`;
}
