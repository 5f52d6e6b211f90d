// Alerts in words: values with their units, where something is, and how long silences last.

import { clockTime, given, number } from "./format.js";

export const KIND_WORDS = {
  worker_offline: "worker offline",
  telemetry_broken: "telemetry broken",
  gpu_lost: "GPU lost",
  xid: "XID",
  ecc_uncorrected: "uncorrectable ECC errors",
  temperature: "temperature",
  memory_temperature: "memory temperature",
  throttling: "throttling",
  memory_full: "memory full",
  power: "power",
  idle_held: "memory held while idle",
};

function quantity(value, unit) {
  if (!given(value)) return null;
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1;
  return unit === null ? number(value, digits) : `${number(value, digits)}\u00a0${unit}`;
}

/** Return an alert's value in words, null where it has none; of what happens at one moment, how often it did. */
export function valueText({ kind, value, unit, count }) {
  if (kind === "xid" && given(value)) return `XID\u00a0${value}${count > 1 ? `, ${number(count)}\u00a0times` : ""}`;
  return quantity(value, unit);
}

/** Return what the value is held against, null where nothing is. */
export function thresholdText({ threshold, unit, side }) {
  if (!given(threshold)) return null;
  return `${side === "below" ? "below" : "limit"} ${quantity(threshold, unit)}`;
}

/** Return which card an alert is about in short, for beside its text, which tells of the card's name. */
export function cardPlace({ gpu, gpu_index: index }) {
  return gpu === null || !given(index) ? null : `GPU ${index}`;
}

/** Return which card an alert is about, null where it is about the whole worker. */
export function cardText({ gpu, gpu_index: index, gpu_name: name }) {
  if (gpu === null) return null;
  if (!given(index)) return name ?? gpu;
  return name === null ? `GPU ${index}` : `GPU ${index} · ${name}`;
}

/** Return what a silence covers, in words. */
export function coverText({ rule, worker_id: worker, gpu, labels }) {
  const parts = [rule === null ? "every alert" : `rule ${rule}`];
  if (worker !== null) parts.push(`on ${worker}`);
  if (gpu !== null) parts.push(`card ${gpu}`);
  const named = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  if (named.length > 0) parts.push(`on workers with ${named.join(", ")}`);
  return parts.join(", ");
}

/** Return `rack=3, site=a` as an object, null where it cannot be read. */
export function readLabels(text) {
  const labels = {};
  for (const part of text.split(",").map((each) => each.trim())) {
    if (part === "") continue;
    const [, key, value] = /^([^=]+)=(.*)$/.exec(part) ?? [];
    if (key === undefined) return null;
    labels[key.trim()] = value.trim();
  }
  return labels;
}

export function labelsText(labels) {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}

/** Return a moment as a field of the kind `datetime-local` takes it, in the reader's own time zone. */
export function localMoment(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function acknowledgedText({ acknowledged_by: by, acknowledged_at: at, note }) {
  return `acknowledged by ${by}, ${clockTime(at)}${note ? `: ${note}` : ""}`;
}
