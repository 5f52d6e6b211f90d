// The fleet's table: only the rows in sight are drawn, so that a thousand workers cost as much as thirty.

import { select, sortBy } from "../lib/actions.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { useStore } from "../lib/store.js";
import { WorkerRow } from "./worker-row.js";

const ROWS_BEYOND_SIGHT = 6;

const COLUMNS = [
  ["state", "State"],
  ["id", "Worker"],
  ["gpus", "GPUs"],
  ["utilization", "Utilization"],
  ["memory", "Memory"],
  ["temperature", "Hottest"],
  ["power", "Power"],
  ["users", "Users"],
  ["seen", "Last seen"],
];

function Heading({ column, label, sort }) {
  const sorted = sort.key === column;
  const direction = sorted ? (sort.descending ? "descending" : "ascending") : "none";
  return html`<div class="cell cell-${column === "id" ? "worker" : column} heading" role="columnheader" aria-sort=${direction}>
    <button class="sort-button" onClick=${() => sortBy(column)}>
      ${label}<span class="sort-arrow" aria-hidden="true">${sorted ? (sort.descending ? "↓" : "↑") : ""}</span>
    </button>
  </div>`;
}

/** Return the part of the table that is in sight, as row numbers; the height of a row is the style sheet's. */
function useWindow(table, count) {
  const [view, setView] = useState({ first: 0, last: 40, height: 56 });
  useEffect(() => {
    let asked = 0;
    function measure() {
      asked = 0;
      const element = table.current;
      if (element === null) return;
      const height = parseFloat(getComputedStyle(element).getPropertyValue("--row-height"));
      const top = element.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(-top / height) - ROWS_BEYOND_SIGHT);
      const last = Math.ceil((window.innerHeight - top) / height) + ROWS_BEYOND_SIGHT;
      setView((now) => (now.first === first && now.last === last && now.height === height ? now : { first, last, height }));
    }
    function ask() {
      if (asked === 0) asked = requestAnimationFrame(measure);
    }
    measure();
    window.addEventListener("scroll", ask, { passive: true });
    window.addEventListener("resize", ask);
    return () => {
      window.removeEventListener("scroll", ask);
      window.removeEventListener("resize", ask);
      cancelAnimationFrame(asked);
    };
  }, [count]);
  return view;
}

export function FleetTable({ ids, rows, mayRun, hold }) {
  const session = useStore((state) => state.session);
  const body = useRef(null);
  const selected = useStore((state) => state.selected);
  const sort = useStore((state) => state.sort);
  const { first, last, height } = useWindow(body, ids.length);
  const shown = ids.slice(first, last);
  const own = mayRun ? ids.filter((id) => mayCommand(session, rows.get(id).labels)) : [];
  const all = own.length > 0 && own.every((id) => selected.has(id));

  return html`<div class="table ${mayRun ? "" : "table-viewer"}" role="table" aria-label="Workers" aria-rowcount=${ids.length + 1}>
    <div class="row row-headings" role="row" aria-rowindex="1">
      ${mayRun &&
      html`<div class="cell cell-check" role="columnheader">
        <label class="check">
          <input
            type="checkbox"
            checked=${all}
            aria-label="Select all shown workers"
            onChange=${() => select(all ? [] : own)}
          />
        </label>
      </div>`}
      ${COLUMNS.map(([column, label]) => html`<${Heading} key=${column} column=${column} label=${label} sort=${sort} />`)}
      ${mayRun && html`<div class="cell cell-run heading" role="columnheader">Command</div>`}
    </div>
    <div
      ref=${body}
      class="table-body"
      role="rowgroup"
      style=${{ height: `${ids.length * height}px` }}
      onMouseEnter=${() => hold(true)}
      onMouseLeave=${() => hold(false)}
    >
      <div class="table-window" style=${{ transform: `translateY(${first * height}px)` }}>
        ${shown.map((id, at) => {
          const index = first + at;
          const row = rows.get(id);
          return html`<${WorkerRow}
            key=${id}
            row=${row}
            index=${index}
            selected=${selected.has(id)}
            hasRun=${mayRun}
            mayRun=${mayCommand(session, row.labels)}
          />`;
        })}
      </div>
    </div>
  </div>`;
}
