// All workers.

import { sortBy } from "../lib/actions.js";
import { matching, sorted } from "../lib/fleet.js";
import { watchFleet } from "../lib/fleet_live.js";
import { plural } from "../lib/format.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { AddWorker } from "./add-worker.js";
import { Dock } from "./dock.js";
import { EmptyFleet } from "./empty-fleet.js";
import { FleetTable } from "./fleet-table.js";
import { SelectionBar } from "./selection-bar.js";
import { Totals } from "./totals.js";

const SORTED_AGAIN_AFTER_MS = 3_000;
const STEADY_KEYS = new Set(["id", "gpus"]);

/** Return the ids to show, in order. Under the pointer the order holds, so that nobody clicks on another row. */
function useOrder(rows, search, sort, held) {
  const last = useRef({ ids: [], at: 0 });
  const before = last.current;
  const asked = before.search !== search || before.sort !== sort || before.size !== rows.size;
  const due = Date.now() - before.at > SORTED_AGAIN_AFTER_MS && !held.current;
  const isSteady = STEADY_KEYS.has(sort.key) && search === "";
  if (asked || (due && !isSteady) || !before.ids.every((id) => rows.has(id))) {
    const ids = sorted(matching([...rows.values()], search), sort).map((row) => row.id);
    last.current = { ids, at: Date.now(), search, sort, size: rows.size };
  }
  return last.current.ids;
}

export function FleetPage() {
  useEffect(watchFleet, []);
  const { loaded, rows } = useStore((state) => state.fleet);
  const search = useStore((state) => state.search);
  const sort = useStore((state) => state.sort);
  const mayRun = useStore((state) => state.session.may_run);
  const isAdmin = useStore((state) => state.session.role === "admin");
  const held = useRef(false);
  const [hold] = useState(() => (isHeld) => {
    held.current = isHeld;
  });
  const ids = useOrder(rows, search, sort, held);

  return html`<main class="page">
    <h1 class="visually-hidden" tabindex="-1">Fleet</h1>
    <${Totals} rows=${rows} />
    ${loaded && rows.size === 0
      ? html`<${EmptyFleet} />`
      : html`<div class="toolbar">
            <label class="search">
              <span class="visually-hidden">Search workers</span>
              <input
                class="field"
                type="search"
                placeholder="Search worker, label, user, GPU, state"
                value=${search}
                onInput=${(event) => update({ search: event.currentTarget.value })}
              />
            </label>
            <label class="sort-select">
              <span>Sort by</span>
              <select class="field" value=${sort.key} onChange=${(event) => sortBy(event.currentTarget.value)}>
                <option value="id">name</option>
                <option value="state">state</option>
                <option value="utilization">utilization</option>
                <option value="memory">memory</option>
                <option value="temperature">temperature</option>
                <option value="power">power</option>
                <option value="users">users</option>
                <option value="seen">last seen</option>
              </select>
            </label>
            <span class="quiet shown-count" role="status">
              ${!loaded ? "Loading…" : search ? `${plural(ids.length, "worker")} of ${rows.size}` : plural(rows.size, "worker")}
            </span>
            ${isAdmin && html`<${AddWorker} />`}
          </div>
          <${FleetTable} ids=${ids} rows=${rows} mayRun=${mayRun} hold=${hold} />
          ${loaded && ids.length === 0 && html`<p class="nothing">No worker matches “${search}”.</p>`}`}
    <${Dock}>${mayRun && rows.size > 0 && html`<${SelectionBar} shown=${ids} rows=${rows} />`}<//>
  </main>`;
}
