// The readings of a worker over time: what the server has stored, and behind it what has arrived since.

import { useEffect, useReducer } from "./html.js";
import { serverNow } from "./clock.js";

export const RANGES = {
  "5m": ["5 min", 300],
  "15m": ["15 min", 900],
  "1h": ["1 h", 3_600],
  "6h": ["6 h", 21_600],
  "24h": ["24 h", 86_400],
  "7d": ["7 d", 604_800],
  "30d": ["30 d", 2_592_000],
};

const MOST_LIVE_POINTS = 4_000;
const POINTS = 300;
const FETCH_AGAIN_AT_LEAST_S = 30;
const GAP_INTERVALS = 3;
const HOST = "host";

const live = new Map(); // "<worker> <uuid>" -> {time: [], series: {metric: []}}
const listeners = new Set();

function liveOf(key) {
  if (!live.has(key)) live.set(key, { time: [], series: {}, interval: 5 });
  return live.get(key);
}

function keepPoint(key, time, readings, interval) {
  const points = liveOf(key);
  points.interval = interval;
  const before = points.time.at(-1);
  if (before !== undefined && time <= before) return;
  points.time.push(time);
  for (const [metric, value] of Object.entries(readings)) {
    if (value !== null && typeof value !== "number") continue;
    points.series[metric] ??= new Array(points.time.length - 1).fill(null);
    points.series[metric].push(value);
  }
  for (const values of Object.values(points.series)) if (values.length < points.time.length) values.push(null);
  if (points.time.length > MOST_LIVE_POINTS) {
    for (const values of [points.time, ...Object.values(points.series)]) values.splice(0, MOST_LIVE_POINTS / 4);
  }
}

/** Take the readings of a sample that has arrived at `received` (seconds since 1970, the server's clock). */
export function keepSample(worker, received, metrics) {
  for (const gpu of metrics.gpus) keepPoint(`${worker} ${gpu.uuid}`, received, gpu, metrics.interval_s);
  if (metrics.host) keepPoint(`${worker} ${HOST}`, received, metrics.host, metrics.interval_s);
  for (const listener of [...listeners]) listener(worker);
}

/** Let go of a worker's points: the server has them. */
export function forgetSamples(worker) {
  for (const key of [...live.keys()]) if (key.startsWith(`${worker} `)) live.delete(key);
}

async function fetchStored(worker, uuid, metrics, seconds) {
  const until = serverNow();
  const query = new URLSearchParams({ metric: metrics.join(","), from: until - seconds, to: until, points: POINTS });
  const place = uuid === null ? "" : `/gpus/${encodeURIComponent(uuid)}`;
  const response = await fetch(`/api/v1/workers/${encodeURIComponent(worker)}${place}/history?${query}`, { cache: "no-store" });
  if (!response.ok) throw new Error(response.statusText);
  return await response.json();
}

/** Return stored and live points of one metric in one line, `{time, mean, min, max}`; a gap is null. */
function joined(stored, points, metric, from) {
  const time = [...(stored?.time ?? [])];
  const kept = stored?.series[metric];
  const mean = [...(kept?.mean ?? new Array(time.length).fill(null))];
  const min = [...(kept?.min ?? mean)];
  const max = [...(kept?.max ?? mean)];
  const values = points.series[metric] ?? [];
  const begin = time.at(-1) ?? -Infinity;
  for (const [at, moment] of points.time.entries()) {
    if (moment <= begin || moment < from) continue;
    const before = time.at(-1);
    if (before !== undefined && moment - before > Math.max(GAP_INTERVALS * points.interval, stored?.step_s * 2 || 0)) {
      time.push((before + moment) / 2);
      for (const line of [mean, min, max]) line.push(null);
    }
    time.push(moment);
    for (const line of [mean, min, max]) line.push(values[at] ?? null);
  }
  return { time, mean, min, max };
}

/** Return `line(metric)` of one card (or of the host, uuid null) over a range, up to now and following what arrives. */
export function useHistory(worker, uuid, metrics, range) {
  const [state, changed] = useReducer((before, stored) => ({ ...before, ...stored, count: before.count + 1 }), { stored: null, count: 0 });
  const [, seconds] = RANGES[range];
  const key = `${worker} ${uuid ?? HOST}`;

  useEffect(() => {
    let isOver = false;
    let timer = 0;
    async function read() {
      let step = 0;
      try {
        const stored = await fetchStored(worker, uuid, metrics, seconds);
        step = stored.step_s;
        if (!isOver) changed({ stored });
      } catch {
        // Without the stored part, what has arrived since the page was opened is shown.
      }
      if (!isOver) timer = setTimeout(read, Math.max(step, FETCH_AGAIN_AT_LEAST_S) * 1000);
    }
    changed({ stored: null });
    read();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [worker, uuid, range]);

  useEffect(() => {
    const listener = (sampled) => sampled === worker && changed({});
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, [worker]);

  const until = serverNow();
  return { from: until - seconds, until, line: (metric) => joined(state.stored, liveOf(key), metric, until - seconds) };
}
