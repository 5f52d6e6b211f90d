// The groups and what each has: sorted by a column, what is held idle marked by shape and word.

import { percent, share } from "../lib/format.js";
import { collator } from "../lib/fleet.js";
import { html, useState } from "../lib/html.js";
import { NOBODY, gibHours, hours, kilowattHours, moneyIn, nameOf } from "../lib/usage.js";
import { Meter } from "./meter.js";
import { StateBadge } from "./state-badge.js";

// So many groups are drawn at first: a fleet may have thousands of workers.
const SHOWN_AT_FIRST = 200;
// From this part of what a group holds on, that it is held idle is marked.
const MUCH_IDLE_PERCENT = 25;

const timeOf = (group) => (group.name === NOBODY ? group.free_hours : group.held_hours);
const energyOf = (group) => (group.name === NOBODY ? group.free_energy_kwh : group.energy_kwh);
const costOf = (group) => (group.name === NOBODY ? group.free_cost : group.cost);

function columnsFor({ by, prices }) {
  const hasFree = by !== "user";
  const hasCost = prices.per_gpu_hour !== null || prices.per_kwh !== null;
  const money = moneyIn(prices.currency);
  return [
    { key: "name", label: by.startsWith("label:") ? by.slice(6) : { user: "User", worker: "Worker", model: "GPU model" }[by] },
    { key: "held", label: "Held", title: "GPU-hours held", value: timeOf, isNumeric: true },
    { key: "share", label: "Share", title: "Of the GPU-hours of all groups", value: timeOf, isNumeric: true },
    { key: "busy", label: "Busy", title: "GPU-hours at or above 5 %", value: (group) => group.busy_hours, isNumeric: true, format: hours },
    { key: "idle", label: "Held idle", title: "GPU-hours held while under 5 %", value: (group) => group.idle_hours, isNumeric: true },
    ...(hasFree ? [{ key: "free", label: "Free", title: "GPU-hours that nobody held", value: (group) => group.free_hours, isNumeric: true, format: hours }] : []),
    { key: "memory", label: "Memory", value: (group) => group.memory_gib_hours, isNumeric: true, format: gibHours },
    { key: "energy", label: "Energy", value: energyOf, isNumeric: true, format: kilowattHours },
    ...(hasCost ? [{ key: "cost", label: "Cost", value: costOf, isNumeric: true, format: money }] : []),
  ];
}

function ordered(groups, column, descending) {
  const sign = descending ? -1 : 1;
  const value = (group) => column.value(group) ?? -1;
  const compare = column.key === "name" ? (a, b) => collator.compare(a.name ?? "", b.name ?? "") : (a, b) => value(a) - value(b);
  return [...groups].sort((a, b) => (a.name === NOBODY) - (b.name === NOBODY) || sign * compare(a, b));
}

function Heading({ column, sort, onSort }) {
  const isSorted = sort.key === column.key;
  const direction = isSorted ? (sort.descending ? "descending" : "ascending") : "none";
  return html`<th scope="col" class=${column.isNumeric ? "numeric" : ""} aria-sort=${direction} title=${column.title}>
    <button class="sort-button" onClick=${() => onSort(column)}>
      ${column.label}<span class="sort-arrow" aria-hidden="true">${isSorted ? (sort.descending ? "↓" : "↑") : ""}</span>
    </button>
  </th>`;
}

function Idle({ group }) {
  const part = share(group.idle_hours, group.held_hours);
  if (part === null || part < MUCH_IDLE_PERCENT) return html`${hours(group.idle_hours)}`;
  return html`<span class="usage-idle">
    <${StateBadge} state="held" word=${`${percent(part)} idle`} /> ${hours(group.idle_hours)}
  </span>`;
}

function Name({ view, change, group, tone }) {
  const name = nameOf(view.by, group.name);
  const swatch = html`<span class=${`swatch swatch-${tone}`} aria-hidden="true"></span>`;
  if (group.name === NOBODY && view.by === "user") return html`${swatch}<span class="quiet">nobody (free)</span>`;
  if (group.name === null || view.by === "model") return html`${swatch}<span class=${group.name === null ? "quiet" : ""}>${name}</span>`;
  const [key, value, by] = view.by.startsWith("label:")
    ? ["label", `${view.by.slice(6)}=${name}`, "user"]
    : [view.by, name, view.by === "user" ? "worker" : "user"];
  return html`${swatch}<button class="link usage-name" title=${`By ${by}, of ${name} alone`} onClick=${() => change({ [key]: value, by }, true)}>${name}</button>`;
}

function Cell({ column, group, whole, view, change, tone }) {
  if (column.key === "name") return html`<th scope="row"><${Name} view=${view} change=${change} group=${group} tone=${tone} /></th>`;
  if (column.key === "idle") return html`<td class="numeric">${group.name === NOBODY ? "" : html`<${Idle} group=${group} />`}</td>`;
  if (column.key === "held") return html`<td class="numeric">${hours(timeOf(group))}</td>`;
  if (column.key === "share") {
    const part = share(timeOf(group), whole) ?? 0;
    return html`<td class="numeric usage-share">${percent(part)}<${Meter} value=${part} label=${`${percent(part)} of the hours`} /></td>`;
  }
  const isOfUsers = ["busy", "memory"].includes(column.key);
  return html`<td class="numeric">${group.name === NOBODY && isOfUsers ? "" : column.format(column.value(group))}</td>`;
}

export function UsageTable({ view, change, totals, series }) {
  const [sort, setSort] = useState({ key: "held", descending: true });
  const [isAll, setAll] = useState(false);
  const columns = columnsFor(totals);
  const column = columns.find(({ key }) => key === sort.key) ?? columns[1];
  const whole = totals.groups.reduce((sum, group) => sum + timeOf(group), 0);
  const places = new Map(series.groups.filter((group) => !group.is_rest).map((group, at) => [group.name, at]));
  const toneOf = ({ name }) => (name === NOBODY ? "free" : (places.get(name) ?? "rest"));
  const rows = ordered(totals.groups, column, sort.descending);
  const shown = isAll ? rows : rows.slice(0, SHOWN_AT_FIRST);
  function sortBy({ key, isNumeric = false }) {
    setSort({ key, descending: sort.key === key ? !sort.descending : isNumeric });
  }
  return html`<section class="card" aria-labelledby="usage-groups-title">
    <h2 id="usage-groups-title" class="visually-hidden">Groups</h2>
    <div class="scrolls" tabindex="0" role="region" aria-label="Table of usage">
      <table class="small-table usage-table">
        <thead>
          <tr>${columns.map((each) => html`<${Heading} key=${each.key} column=${each} sort=${sort} onSort=${sortBy} />`)}</tr>
        </thead>
        <tbody>
          ${shown.map(
            (group) => html`<tr key=${group.name ?? ""}>
              ${columns.map(
                (each) => html`<${Cell} key=${each.key} column=${each} group=${group} whole=${whole} view=${view} change=${change} tone=${toneOf(group)} />`,
              )}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${shown.length < rows.length && html`<button class="button usage-all" onClick=${() => setAll(true)}>Show all ${rows.length}</button>`}
  </section>`;
}
