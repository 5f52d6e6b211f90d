// What the fleet view computes from its rows: who is on which card, in which order and groups they are shown, and the sums.

import { share } from "./format.js";

export const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

// The gravest first.
export const STATE_WORDS = {
  offline: "offline",
  gpu_lost: "GPU lost",
  degraded: "telemetry broken",
  stale: "stale",
  asleep: "asleep",
  online: "online",
};
export const STATES = Object.keys(STATE_WORDS);

// A card is busy when a process holds memory on it or it computes; a driver's own work stays below this.
const BUSY_FROM_PERCENT = 5;

const WORKER_KEYS = {
  state: (row) => STATES.indexOf(row.state),
  id: (row) => row.id,
  gpus: (row) => row.gpu_count,
  utilization: (row) => row.utilization_percent,
  memory: (row) => share(row.memory_used_bytes, row.memory_total_bytes),
  temperature: (row) => row.hottest_c,
  power: (row) => row.power_w,
  users: (row) => row.users.join(", ") || null,
  free: (row) => row.gpus.filter((gpu) => occupation(row, gpu) === "free").length,
  seen: (row) => row.last_seen,
};

const OCCUPATIONS = ["free", "busy", "absent"];
const CARD_KEYS = {
  state: ({ row, gpu }) => OCCUPATIONS.indexOf(occupation(row, gpu)),
  id: ({ row }) => row.id,
  gpus: ({ gpu }) => gpu.name,
  utilization: ({ gpu }) => gpu.utilization_percent,
  memory: ({ gpu }) => share(gpu.memory_used_bytes, gpu.memory_total_bytes),
  temperature: ({ gpu }) => gpu.temperature_c,
  power: ({ gpu }) => gpu.power_w,
  users: ({ gpu }) => gpu.users.join(", ") || null,
  free: ({ row, gpu }) => (occupation(row, gpu) === "free" ? 1 : 0),
  seen: ({ row }) => row.last_seen,
};

function compared(left, right, sign) {
  if (left === right) return 0;
  if (left === null || left === undefined) return 1;
  if (right === null || right === undefined) return -1;
  return sign * (typeof left === "string" ? collator.compare(left, right) : left - right);
}

/** Return the rows in order; those without the reading come last either way, equal ones by their id. */
export function sorted(rows, { key, descending }) {
  const value = WORKER_KEYS[key];
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => compared(value(a), value(b), sign) || collator.compare(a.id, b.id));
}

const cardsOfRow = new WeakMap();

/** Return a row's cards, each with its row; the same objects as long as the row is the same. */
export function cardsOf(row) {
  let cards = cardsOfRow.get(row);
  if (cards === undefined) {
    cards = row.gpus.map((gpu) => ({ key: `${row.id} ${gpu.uuid}`, row, gpu }));
    cardsOfRow.set(row, cards);
  }
  return cards;
}

/** Return cards in order, equal ones by worker and index. */
export function sortedCards(cards, { key, descending }) {
  const value = CARD_KEYS[key];
  const sign = descending ? -1 : 1;
  const place = ({ gpu }) => gpu.index ?? Infinity;
  return [...cards].sort(
    (a, b) => compared(value(a), value(b), sign) || collator.compare(a.row.id, b.row.id) || compared(place(a), place(b), 1),
  );
}

/** Return how busy a card is: free | busy | absent (it or its worker does not answer). */
export function occupation(row, gpu) {
  if (row.state === "offline" || (gpu.state !== "ok" && gpu.state !== "asleep")) return "absent";
  return gpu.processes > 0 || gpu.utilization_percent >= BUSY_FROM_PERCENT ? "busy" : "free";
}

/** Tell whether somebody's memory is on the card though it computes nothing. */
export function isHeldIdle(gpu) {
  return gpu.processes > 0 && gpu.utilization_percent !== null && gpu.utilization_percent < BUSY_FROM_PERCENT;
}

function ranges(numbers) {
  const parts = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = parts.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([first, last]) => (first === last ? `${first}` : last === first + 1 ? `${first},${last}` : `${first}–${last}`)).join(",");
}

const occupants = new WeakMap();

/** Return who is on which cards of a worker, `[{user, cards: "0–3,5"}]`, and which are free: `{users, free}`. */
export function whoIsOn(row) {
  let found = occupants.get(row);
  if (found === undefined) {
    const byUser = new Map();
    const free = [];
    for (const gpu of row.gpus) {
      if (gpu.index === null) continue;
      if (occupation(row, gpu) === "free") free.push(gpu.index);
      for (const user of gpu.users) byUser.set(user, [...(byUser.get(user) ?? []), gpu.index]);
    }
    const users = [...byUser].sort((a, b) => a[1][0] - b[1][0]).map(([user, cards]) => ({ user, cards: ranges(cards) }));
    found = { users, free: ranges(free), freeCount: free.length };
    occupants.set(row, found);
  }
  return found;
}

/** Return every label name that a worker has, sorted. */
export function labelNames(rows) {
  const names = new Set();
  for (const row of rows) for (const name of Object.keys(row.labels)) names.add(name);
  return [...names].sort(collator.compare);
}

/** Return `[{value, rows}]` by the value of a label, in order; rows without it come last, their value null. */
export function grouped(rows, label) {
  const groups = new Map();
  for (const row of rows) {
    const value = row.labels[label] ?? null;
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(row);
  }
  const order = ([a], [b]) => (a === null ? 1 : b === null ? -1 : collator.compare(a, b));
  return [...groups].sort(order).map(([value, members]) => ({ value, rows: members }));
}

/** Return the sums over the fleet; readings of workers that are offline do not count. */
export function totals(rows) {
  const sum = {
    workers: { all: 0, online: 0 },
    states: Object.fromEntries(STATES.map((state) => [state, 0])),
    gpus: { all: 0, busy: 0, free: 0, absent: 0, held: 0 },
    utilization: null,
    memoryUsed: null,
    memoryTotal: null,
    power: null,
    hottest: null,
  };
  let utilizations = 0;
  let measured = 0;
  for (const row of rows) {
    sum.workers.all += 1;
    if (row.state !== "offline" && row.state !== "stale") sum.workers.online += 1;
    sum.states[row.state] += 1;
    for (const gpu of row.gpus) {
      sum.gpus.all += 1;
      sum.gpus[occupation(row, gpu)] += 1;
      if (row.state === "offline") continue;
      if (isHeldIdle(gpu)) sum.gpus.held += 1;
      if (gpu.utilization_percent !== null) {
        utilizations += gpu.utilization_percent;
        measured += 1;
      }
      if (gpu.memory_used_bytes !== null) sum.memoryUsed = (sum.memoryUsed ?? 0) + gpu.memory_used_bytes;
      if (gpu.memory_total_bytes !== null) sum.memoryTotal = (sum.memoryTotal ?? 0) + gpu.memory_total_bytes;
      if (gpu.power_w !== null) sum.power = (sum.power ?? 0) + gpu.power_w;
      if (gpu.temperature_c !== null && gpu.temperature_c > (sum.hottest?.celsius ?? -Infinity)) {
        sum.hottest = { celsius: gpu.temperature_c, worker: row.id, index: gpu.index };
      }
    }
  }
  if (measured > 0) sum.utilization = utilizations / measured;
  return sum;
}
