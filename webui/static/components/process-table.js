// The processes that hold memory on any of a worker's cards, sorted by a column.

import { bytes, NONE, percent } from "../lib/format.js";
import { collator } from "../lib/fleet.js";
import { html, useState } from "../lib/html.js";

const COLUMNS = [
  { name: "gpu", label: "GPU", value: ({ gpu }) => gpu.index },
  { name: "pid", label: "PID", value: ({ process }) => process.pid, isNumeric: true },
  { name: "user", label: "User", value: ({ process }) => process.user },
  { name: "name", label: "Process", value: ({ process }) => process.name },
  { name: "memory", label: "Memory", value: ({ process }) => process.memory_bytes, isNumeric: true, isDescending: true },
  { name: "sm", label: "SM", value: ({ process }) => process.sm_percent, isNumeric: true, isDescending: true },
  { name: "type", label: "Type", value: ({ process }) => process.type },
  { name: "container", label: "Container", value: ({ process }) => process.container },
  { name: "command", label: "Command", value: ({ process }) => process.command },
];

function ordered(rows, { name, descending }) {
  const { value } = COLUMNS.find((column) => column.name === name);
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [value(a) ?? null, value(b) ?? null];
    if (left === right) return a.process.pid - b.process.pid;
    if (left === null || right === null) return left === null ? 1 : -1;
    return sign * (typeof left === "string" ? collator.compare(left, right) : left - right);
  });
}

function Heading({ column, sort, onSort }) {
  const isSorted = sort.name === column.name;
  const direction = isSorted ? (sort.descending ? "descending" : "ascending") : "none";
  return html`<th scope="col" class=${column.isNumeric ? "numeric" : ""} aria-sort=${direction}>
    <button class="sort-button" onClick=${() => onSort(column)}>
      ${column.label}<span class="sort-arrow" aria-hidden="true">${isSorted ? (sort.descending ? "↓" : "↑") : ""}</span>
    </button>
  </th>`;
}

export function ProcessTable({ gpus }) {
  const [sort, setSort] = useState({ name: "memory", descending: true });
  const rows = gpus.flatMap((gpu) => (gpu.processes ?? []).map((process) => ({ gpu, process })));
  if (rows.length === 0) return html`<p class="quiet">No process holds memory on a card.</p>`;
  function sortBy({ name, isDescending = false }) {
    setSort({ name, descending: sort.name === name ? !sort.descending : isDescending });
  }
  return html`<div class="scrolls" tabindex="0" role="region" aria-label="Table of processes">
    <table class="small-table processes">
      <thead>
        <tr>${COLUMNS.map((column) => html`<${Heading} key=${column.name} column=${column} sort=${sort} onSort=${sortBy} />`)}</tr>
      </thead>
      <tbody>
        ${ordered(rows, sort).map(
          ({ gpu, process }) => html`<tr key=${`${gpu.uuid} ${process.pid} ${process.mig_uuid}`}>
            <td title=${process.mig_uuid ?? gpu.uuid}>${gpu.index ?? NONE}${process.mig_uuid ? " MIG" : ""}</td>
            <td class="numeric">${process.pid}</td>
            <td>${process.user ?? NONE}</td>
            <td>${process.name ?? NONE}</td>
            <td class="numeric">${bytes(process.memory_bytes)}</td>
            <td class="numeric">${percent(process.sm_percent)}</td>
            <td>${process.type}</td>
            <td>${process.container ?? NONE}</td>
            <td class="process-command"><code title=${process.command}>${process.command ?? NONE}</code></td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
