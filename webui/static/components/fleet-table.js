// The fleet's table, of workers or of cards, in groups or not; only what is in sight is drawn.

import { select, sortBy } from "../lib/actions.js";
import { html, useMemo, useRef } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { useStore } from "../lib/store.js";
import { useWindow } from "../lib/window.js";
import { CardRow } from "./card-row.js";
import { shownColumns } from "./columns.js";
import { GroupRow } from "./group-row.js";
import { WorkerRow } from "./worker-row.js";

function Heading({ column, sort }) {
  const sorted = sort.key === column.name;
  const direction = sorted ? (sort.descending ? "descending" : "ascending") : "none";
  const place = `cell cell-${column.name === "id" ? "worker" : column.name} heading`;
  if (!column.sorts) return html`<div class=${place} role="columnheader">${column.label}</div>`;
  return html`<div class=${place} role="columnheader" aria-sort=${direction}>
    <button class="sort-button" onClick=${() => sortBy(column.name)}>
      ${column.label}<span class="sort-arrow" aria-hidden="true">${sorted ? (sort.descending ? "↓" : "↑") : ""}</span>
    </button>
  </div>`;
}

function Item({ item, index, selected, session, hasRun, shown }) {
  if (item.kind === "group") {
    return html`<${GroupRow} group=${item} index=${index} selected=${selected} session=${session} hasRun=${hasRun} />`;
  }
  const mayRun = hasRun && mayCommand(session, item.row.labels);
  const shared = { index, hasRun, mayRun, shown, selected: selected.has(item.row.id), row: item.row };
  return item.kind === "card" ? html`<${CardRow} ...${shared} gpu=${item.gpu} />` : html`<${WorkerRow} ...${shared} />`;
}

export function FleetTable({ items, rows, mayRun, hold }) {
  const body = useRef(null);
  const session = useStore((state) => state.session);
  const selected = useStore((state) => state.selected);
  const sort = useStore((state) => state.sort);
  const hidden = useStore((state) => state.hidden);
  const list = useStore((state) => state.list);
  const { shown, columns, widths } = useMemo(() => shownColumns(hidden, mayRun, list), [hidden, mayRun, list]);
  const { first, last, offsets } = useWindow(body, items);
  const own = mayRun ? rows.filter((row) => mayCommand(session, row.labels)).map((row) => row.id) : [];
  const all = own.length > 0 && own.every((id) => selected.has(id));

  return html`<div
    class="table ${mayRun ? "" : "table-viewer"}"
    style=${{ "--columns": widths }}
    role="table"
    aria-label=${list === "cards" ? "GPUs" : "Workers"}
    aria-rowcount=${items.length + 1}
  >
    <div class="row row-headings" role="row" aria-rowindex="1">
      ${mayRun &&
      html`<div class="cell cell-check" role="columnheader">
        <label class="check">
          <input type="checkbox" checked=${all} aria-label="Select all shown workers" onChange=${() => select(all ? [] : own)} />
        </label>
      </div>`}
      ${columns.map((column) => html`<${Heading} key=${column.name} column=${column} sort=${sort} />`)}
    </div>
    <div
      ref=${body}
      class="table-body"
      role="rowgroup"
      style=${{ height: `${offsets.at(-1)}px` }}
      onMouseEnter=${() => hold(true)}
      onMouseLeave=${() => hold(false)}
    >
      <div class="table-window" style=${{ transform: `translateY(${offsets[first]}px)` }}>
        ${items.slice(first, last).map((item, at) => {
          const shared = { item, index: first + at, selected, session, shown };
          return html`<${Item} key=${item.key} ...${shared} hasRun=${mayRun} />`;
        })}
      </div>
    </div>
  </div>`;
}
