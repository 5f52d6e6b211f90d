// What usage is asked for: time, grouping, and of whom or where alone.

import { html } from "../lib/html.js";
import { RANGES, dateText, spanOf } from "../lib/usage.js";

const FILTERS = { user: "user", worker: "worker", label: "label" };

function RangeSwitch({ view, change }) {
  function choose(range) {
    if (range !== "dates") return change({ range, from: "", to: "" });
    const { from } = spanOf(view);
    return change({ range, from: dateText(from), to: dateText(new Date()) });
  }
  return html`<div class="switch usage-ranges" role="group" aria-label="Time">
    ${Object.entries(RANGES).map(
      ([range, text]) =>
        html`<button key=${range} class="switch-part" aria-pressed=${view.range === range} onClick=${() => choose(range)}>${text}</button>`,
    )}
  </div>`;
}

function Dates({ view, change }) {
  const field = (key, text) =>
    html`<label class="inline-select">
      <span>${text}</span>
      <input class="field" type="date" value=${view[key]} onChange=${(event) => change({ [key]: event.currentTarget.value })} />
    </label>`;
  return html`${field("from", "From")}${field("to", "to")}`;
}

function BySelect({ view, change, labelKeys }) {
  const choices = [
    ["user", "user"],
    ["worker", "worker"],
    ["model", "GPU model"],
    ...labelKeys.map((key) => [`label:${key}`, `label ${key}`]),
  ];
  if (!choices.some(([by]) => by === view.by)) choices.push([view.by, view.by.replace("label:", "label ")]);
  return html`<label class="inline-select">
    <span>Group by</span>
    <select class="field" value=${view.by} onChange=${(event) => change({ by: event.currentTarget.value })}>
      ${choices.map(([by, text]) => html`<option key=${by} value=${by}>${text}</option>`)}
    </select>
  </label>`;
}

export function UsageFilter({ view, change, labelKeys }) {
  const set = Object.keys(FILTERS).filter((key) => view[key]);
  return html`<div class="toolbar usage-filter">
    <${RangeSwitch} view=${view} change=${change} />
    ${view.range === "dates" && html`<${Dates} view=${view} change=${change} />`}
    <${BySelect} view=${view} change=${change} labelKeys=${labelKeys} />
    ${set.map(
      (key) => html`<button
        key=${key}
        class="chip usage-only"
        title="Show all again"
        aria-label=${`Only ${FILTERS[key]} ${view[key]}: show all again`}
        onClick=${() => change({ [key]: "" }, true)}
      >
        <span class="quiet">only ${FILTERS[key]}</span> ${view[key]} <span aria-hidden="true">×</span>
      </button>`,
    )}
  </div>`;
}
