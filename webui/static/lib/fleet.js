// What the fleet view computes from its rows: which are shown in which order, and the totals above them.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const STATE_ORDER = { degraded: 0, stale: 1, offline: 2, online: 3 };
export const STATE_WORDS = { online: "online", stale: "stale", degraded: "telemetry broken", offline: "offline" };

// A card is busy when a process holds memory on it or it computes; a driver's own work stays below this.
const BUSY_FROM_PERCENT = 5;

const KEYS = {
  state: (row) => STATE_ORDER[row.state],
  id: (row) => row.id,
  gpus: (row) => row.gpu_count,
  utilization: (row) => row.utilization_percent,
  memory: (row) => (row.memory_total_bytes ? row.memory_used_bytes / row.memory_total_bytes : null),
  temperature: (row) => row.hottest_c,
  power: (row) => row.power_w,
  users: (row) => row.users.join(", ") || null,
  seen: (row) => row.last_seen,
};

const haystacks = new WeakMap();

function haystack(row) {
  let text = haystacks.get(row);
  if (text === undefined) {
    const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`);
    const cards = new Set(row.gpus.map((gpu) => gpu.name ?? ""));
    text = [row.id, row.hostname, STATE_WORDS[row.state], row.source, ...labels, ...row.users, ...cards]
      .join("\n")
      .toLowerCase();
    haystacks.set(row, text);
  }
  return text;
}

/** Return the rows that contain every word of the search. */
export function matching(rows, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length === 0 ? rows : rows.filter((row) => words.every((word) => haystack(row).includes(word)));
}

/** Return the rows in order; those without the reading come last either way, equal ones by their id. */
export function sorted(rows, { key, descending }) {
  const value = KEYS[key];
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const left = value(a);
    const right = value(b);
    if (left !== right) {
      if (left === null || left === undefined) return 1;
      if (right === null || right === undefined) return -1;
      const order = typeof left === "string" ? collator.compare(left, right) : left - right;
      if (order !== 0) return sign * order;
    }
    return collator.compare(a.id, b.id);
  });
}

/** Return how busy a card is: free | busy | absent (it or its worker does not answer). */
export function occupation(row, gpu) {
  if (row.state === "offline" || gpu.state !== "ok") return "absent";
  return gpu.processes > 0 || gpu.utilization_percent >= BUSY_FROM_PERCENT ? "busy" : "free";
}

/** Return the sums over the fleet; readings of workers that are offline do not count. */
export function totals(rows) {
  const sum = {
    workers: { all: 0, online: 0, stale: 0, degraded: 0, offline: 0 },
    gpus: { all: 0, busy: 0, free: 0, absent: 0 },
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
    sum.workers[row.state] += 1;
    for (const gpu of row.gpus) {
      sum.gpus.all += 1;
      sum.gpus[occupation(row, gpu)] += 1;
      if (row.state === "offline") continue;
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
