// The head of a group of workers that share a label's value, with their sums; folds the group away.

import { select } from "../lib/actions.js";
import { totals } from "../lib/fleet.js";
import { percent, plural } from "../lib/format.js";
import { html } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { state, update } from "../lib/store.js";

function flip(value) {
  const folded = new Set(state.folded);
  if (!folded.delete(value)) folded.add(value);
  update({ folded });
}

export function GroupRow({ group, index, selected, session, hasRun }) {
  const { label, value, rows, isFolded } = group;
  const ids = hasRun ? rows.filter((row) => mayCommand(session, row.labels)).map((row) => row.id) : [];
  const all = ids.length > 0 && ids.every((id) => selected.has(id));
  const sum = totals(rows);
  const name = value === null ? `no ${label}` : `${label}=${value}`;
  function choose() {
    const next = new Set(selected);
    for (const id of ids) if (all) next.delete(id);
    else next.add(id);
    select(next);
  }
  return html`<div class="row row-group" role="row" aria-rowindex=${index + 2}>
    ${hasRun &&
    html`<div class="cell cell-check" role="cell">
      <label class="check">
        ${ids.length > 0 && html`<input type="checkbox" checked=${all} onChange=${choose} aria-label=${`Select all of ${name}`} />`}
      </label>
    </div>`}
    <div class="cell cell-group" role="cell">
      <button class="fold" aria-expanded=${!isFolded} onClick=${() => flip(value)}>
        <span class="fold-mark" aria-hidden="true">${isFolded ? "▸" : "▾"}</span>${name}
      </button>
      <span class="quiet">
        ${plural(rows.length, "worker")} · ${plural(sum.gpus.all, "GPU")}, ${sum.gpus.free} free · ${percent(sum.utilization)}
      </span>
    </div>
  </div>`;
}
