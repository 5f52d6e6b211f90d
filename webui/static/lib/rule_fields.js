// A rule's fields as a form holds them, all of them text, and as the server reads them.

import { labelsText, readLabels } from "./alert_text.js";

const NUMBER = /^\s*([+-]?\d+(?:\.\d+)?)\s*(.*?)\s*$/s;
const DURATIONS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
];

function durationText(seconds) {
  const [size, unit] = DURATIONS.find(([each]) => seconds >= each && seconds % each === 0) ?? [1, "s"];
  return `${seconds / size} ${unit}`;
}

function quantity(text, units) {
  const [, value, unit] = NUMBER.exec(text ?? "") ?? [];
  return value === undefined ? { value: "", unit: units[0] ?? "" } : { value, unit: unit || (units[0] ?? "") };
}

/** Return a form's values for a rule, or for a new one of this kind. */
export function formOf(kind, facts, fields = {}) {
  const side = fields.below !== undefined ? "below" : fields.above !== undefined ? "above" : (facts.sides[0] ?? "above");
  const threshold = quantity(fields[side], facts.units);
  return {
    kind,
    severity: fields.severity ?? "warning",
    side,
    threshold: threshold.value,
    unit: threshold.unit,
    clear: quantity(fields.clear, facts.units).value,
    for_s: fields.for_s === undefined ? "0 s" : durationText(fields.for_s),
    labels: labelsText(fields.labels),
    quiet_hours: fields.quiet_hours ?? "",
    xids: (fields.xids ?? []).join(", "),
    reasons: fields.reasons ?? [],
    commands: Object.entries(fields.commands ?? {}).map(([name, command]) => ({ name, command })),
  };
}

/** Return the fields that a form asks for; what cannot be read is sent as it is, so that the server says what is wrong. */
export function fieldsOf(form, facts) {
  const named = form.commands.filter(({ name, command }) => name.trim() || command.trim());
  const fields = {
    kind: form.kind,
    severity: form.severity,
    labels: readLabels(form.labels) ?? form.labels,
    quiet_hours: form.quiet_hours,
    commands: Object.fromEntries(named.map(({ name, command }) => [name.trim(), command])),
  };
  if (!facts.is_event) fields.for_s = form.for_s.trim() || 0;
  if (facts.sides.length > 0) {
    fields[form.side] = form.threshold.trim() && `${form.threshold.trim()} ${form.unit}`;
    if (form.clear.trim()) fields.clear = `${form.clear.trim()} ${form.unit}`;
  }
  if (facts.lists === "xids") {
    const words = form.xids.split(",").map((word) => word.trim());
    fields.xids = words.filter(Boolean).map((word) => (/^\d+$/.test(word) ? Number(word) : word));
  }
  if (facts.lists === "reasons") fields.reasons = form.reasons;
  return fields;
}

const NAMED = /^rule (?:\S+ has an unknown field (\w+)|\S+ needs (\w+)|\S+?: (\w+) )/;
const PLACES = { above: "threshold", below: "threshold" };

/** Return beside which field of the form a server's sentence belongs, `name` where it says nothing of a field. */
export function fieldNamedIn(sentence) {
  const [, unknown, needed, wrong] = NAMED.exec(sentence) ?? [];
  const field = unknown ?? needed ?? wrong ?? "name";
  return PLACES[field] ?? field;
}
