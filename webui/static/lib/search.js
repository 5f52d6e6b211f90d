// The fleet's search: `user:research temp>80 free label:rack=3`, read into tests of a worker and of one of its cards.
//
// A word is looked for everywhere. Several terms must all hold, `-` before a term turns it round. What is said of cards
// (user, gpu, readings, free, busy, held, lost, asleep) must hold for one and the same card; turned round, for none of a
// worker's cards.

import { STATE_WORDS, isHeldIdle, occupation } from "./fleet.js";
import { share } from "./format.js";

const COMPARISON = /^(temp|util|mem|power|gpus)(<=|>=|<|>|=)(\d+(?:\.\d+)?)(%|°?c|k?w|[gt]i?b?)?$/;
const KEYED = /^(user|gpu|worker|label|state|source):(.+)$/;
const BYTES = { g: 2 ** 30, t: 2 ** 40 };

const HOLDS = {
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => Math.round(a) === b,
};

const MARKS = {
  free: (gpu, row) => occupation(row, gpu) === "free",
  busy: (gpu, row) => occupation(row, gpu) === "busy",
  held: (gpu, row) => row.state !== "offline" && isHeldIdle(gpu),
  lost: (gpu) => gpu.state === "lost",
  asleep: (gpu) => gpu.state === "asleep",
};

const has = (text, part) => (text ?? "").toLowerCase().includes(part);

function reading(name, unit) {
  if (name === "temp") return (gpu) => gpu.temperature_c;
  if (name === "util") return (gpu) => gpu.utilization_percent;
  if (name === "power") return (gpu) => (gpu.power_w === null ? null : gpu.power_w / (unit === "kw" ? 1000 : 1));
  const size = BYTES[unit?.[0]];
  return size ? (gpu) => (gpu.memory_used_bytes ?? null) && gpu.memory_used_bytes / size : (gpu) => share(gpu.memory_used_bytes, gpu.memory_total_bytes);
}

function comparison([, name, operator, digits, unit]) {
  const holds = HOLDS[operator];
  const bound = Number(digits);
  if (name === "gpus") return { ofRow: (row) => holds(row.gpu_count, bound) };
  const value = reading(name, unit);
  return {
    ofCard: (gpu) => {
      const measured = value(gpu);
      return measured !== null && measured !== undefined && holds(measured, bound);
    },
  };
}

function keyed([, key, wanted]) {
  if (key === "user") return { ofCard: (gpu) => gpu.users.some((user) => has(user, wanted)) };
  if (key === "gpu") return { ofCard: (gpu) => has(gpu.name, wanted) || has(gpu.uuid, wanted) || String(gpu.index) === wanted };
  if (key === "worker") return { ofRow: (row) => has(row.id, wanted) || has(row.hostname, wanted) };
  if (key === "state") return { ofRow: (row) => has(STATE_WORDS[row.state], wanted) || has(row.state, wanted) };
  if (key === "source") return { ofRow: (row) => has(row.source, wanted) };
  const [name, value] = wanted.split(/=(.*)/s);
  return {
    ofRow: (row) =>
      Object.entries(row.labels).some(
        ([label, given]) => label.toLowerCase() === name && (value === undefined || given.toLowerCase() === value),
      ),
  };
}

const haystacks = new WeakMap();

function haystack(row) {
  let text = haystacks.get(row);
  if (text === undefined) {
    const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`);
    const cards = new Set(row.gpus.map((gpu) => gpu.name ?? ""));
    text = [row.id, row.hostname, STATE_WORDS[row.state], row.source, ...labels, ...row.users, ...cards].join("\n").toLowerCase();
    haystacks.set(row, text);
  }
  return text;
}

function term(word) {
  const compared = COMPARISON.exec(word);
  if (compared) return comparison(compared);
  const named = KEYED.exec(word);
  if (named) return keyed(named);
  if (Object.hasOwn(MARKS, word)) return { ofCard: MARKS[word] };
  return { ofRow: (row) => haystack(row).includes(word) };
}

function negated({ ofRow, ofCard }) {
  return ofRow ? { ofRow: (row) => !ofRow(row) } : { ofNoCard: ofCard };
}

/** Return the words of a search in lower case; double quotes keep spaces together. */
function words(text) {
  const found = text.toLowerCase().match(/(?:[^\s"]+|"[^"]*"?)+/g) ?? [];
  return found.map((word) => word.replaceAll('"', "")).filter((word) => word !== "" && word !== "-");
}

/** Return the search as tests: `worker(row)`, `card(gpu, row)`, and `hasCard(row)`: of a worker that has such a card. */
export function parseSearch(text) {
  const terms = words(text).map((word) => (word.startsWith("-") ? negated(term(word.slice(1))) : term(word)));
  const ofRow = terms.map((each) => each.ofRow).filter(Boolean);
  const ofCard = terms.map((each) => each.ofCard).filter(Boolean);
  const ofNoCard = terms.map((each) => each.ofNoCard).filter(Boolean);
  const passes = (row) => ofRow.every((test) => test(row));
  const isWanted = (gpu, row) => ofCard.every((test) => test(gpu, row));
  const isUnwanted = (gpu, row) => ofNoCard.some((test) => test(gpu, row));
  const card = (gpu, row) => isWanted(gpu, row) && !isUnwanted(gpu, row);
  return {
    isEmpty: terms.length === 0,
    card,
    worker: (row) =>
      passes(row) &&
      (ofCard.length === 0 || row.gpus.some((gpu) => isWanted(gpu, row))) &&
      !row.gpus.some((gpu) => isUnwanted(gpu, row)),
    hasCard: (row) => passes(row) && row.gpus.some((gpu) => card(gpu, row)),
  };
}
