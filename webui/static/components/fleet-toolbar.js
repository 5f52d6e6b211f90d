// Above the table: search, states to filter by, grouping, workers or cards, and which columns.

import { sortBy } from "../lib/actions.js";
import { labelNames, STATE_WORDS } from "../lib/fleet.js";
import { html } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { AddWorker } from "./add-worker.js";
import { COLUMNS } from "./columns.js";
import { SearchField } from "./search-field.js";
import { StateBadge } from "./state-badge.js";

const SEARCH_HELP = `Words are looked for everywhere. Also: free, busy, held (idle, but in use), lost, asleep,
user:NAME, gpu:MODEL, worker:NAME, label:KEY=VALUE, state:WORD, temp>80, util<5, mem>90 or mem>40g, power>300, gpus>=8;
a - before a term turns it round.`;

function FleetSearch() {
  const search = useStore((state) => state.search);
  return html`<${SearchField}
    label="Search workers"
    placeholder="Search: user:research temp>80 free label:rack=3"
    title=${SEARCH_HELP}
    value=${search}
    onSearch=${(text) => update({ search: text })}
  />`;
}

function StateFilter({ counts }) {
  const chosen = useStore((state) => state.states);
  function flip(name) {
    const states = new Set(chosen);
    if (!states.delete(name)) states.add(name);
    update({ states });
  }
  const shown = Object.keys(STATE_WORDS).filter((name) => counts[name] > 0 || chosen.has(name));
  return html`<div class="chips" role="group" aria-label="Filter by state">
    ${shown.map(
      (name) => html`<button key=${name} class="chip" aria-pressed=${chosen.has(name)} onClick=${() => flip(name)}>
        <${StateBadge} state=${name} /><span class="chip-count">${counts[name]}</span>
      </button>`,
    )}
  </div>`;
}

function GroupSelect({ rows }) {
  const group = useStore((state) => state.group);
  const names = labelNames(rows);
  if (group !== null && !names.includes(group)) names.push(group);
  if (names.length === 0) return null;
  return html`<label class="inline-select">
    <span>Group by</span>
    <select
      class="field"
      value=${group ?? ""}
      onChange=${(event) => update({ group: event.currentTarget.value || null, folded: new Set() })}
    >
      <option value="">nothing</option>
      ${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select>
  </label>`;
}

function ListSwitch() {
  const list = useStore((state) => state.list);
  const choice = (value, text) =>
    html`<button class="switch-part" aria-pressed=${list === value} onClick=${() => update({ list: value })}>${text}</button>`;
  return html`<div class="switch" role="group" aria-label="List">${choice("workers", "Workers")}${choice("cards", "GPUs")}</div>`;
}

function ColumnMenu({ mayRun }) {
  const hidden = useStore((state) => state.hidden);
  function flip(name) {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    update({ hidden: next });
  }
  const offered = COLUMNS.filter((column) => !column.isFixed && (mayRun || column.name !== "run"));
  return html`<details class="menu">
    <summary class="button">Columns</summary>
    <div class="menu-list" role="group" aria-label="Columns">
      ${offered.map(
        ({ name, label }) => html`<label key=${name} class="menu-item">
          <input type="checkbox" checked=${!hidden.has(name)} onChange=${() => flip(name)} />${label}
        </label>`,
      )}
    </div>
  </details>`;
}

export function FleetToolbar({ rows, counts, told, mayRun }) {
  const sort = useStore((state) => state.sort);
  const isAdmin = useStore((state) => state.session.role === "admin");
  return html`<div class="toolbar">
    <${FleetSearch} />
    <${StateFilter} counts=${counts} />
    <span class="toolbar-rest">
      <span class="quiet shown-count" role="status">${told}</span>
      <label class="inline-select sort-select">
        <span>Sort by</span>
        <select class="field" value=${sort.key} onChange=${(event) => sortBy(event.currentTarget.value)}>
          ${COLUMNS.filter((column) => column.sorts).map(
            ({ name, label }) => html`<option key=${name} value=${name}>${label.toLowerCase()}</option>`,
          )}
        </select>
      </label>
      <${GroupSelect} rows=${rows} />
      <${ListSwitch} />
      <${ColumnMenu} mayRun=${mayRun} />
    </span>
    ${isAdmin && html`<${AddWorker} />`}
  </div>`;
}
