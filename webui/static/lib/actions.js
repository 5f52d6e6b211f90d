// What people do: run, cancel, select.

import { send } from "./api.js";
import { request } from "./live.js";
import { state, update } from "./store.js";

export function notify(text) {
  update({ notice: text === null ? null : { text, at: Date.now() } });
}

/** Ask whether a command is to go to these workers, where they are more than may be sent to without a question. */
function confirmed(command, workers) {
  if (workers.length <= state.session.confirm_above) return true;
  return new Promise((resolve) => update({ confirming: { command, workers, resolve } }));
}

/** Run a command on workers and show its output; returns whether it was sent. */
export async function run(command, workers, timeoutSeconds = 60) {
  if (!(await confirmed(command, workers))) return false;
  const answer = await request("run", { command, workers, timeout_s: timeoutSeconds });
  if (answer.error) {
    notify(answer.error);
    return false;
  }
  update({ docked: answer.id, dockOpen: true, notice: null });
  return true;
}

export async function cancel(id, workers = null) {
  const answer = await request("cancel", { id, workers });
  if (answer.error) notify(answer.error);
}

/** Make a line that lets one machine join, and show it. */
export async function addWorker() {
  const answer = await send("POST", "join-keys", {});
  if (answer.error) notify(answer.error);
  else update({ joinLine: answer });
}

export function select(ids) {
  update({ selected: new Set(ids) });
}

export function toggle(id) {
  const selected = new Set(state.selected);
  if (!selected.delete(id)) selected.add(id);
  update({ selected });
}

export function draft(id, text) {
  const drafts = new Map(state.drafts);
  if (text) drafts.set(id, text);
  else drafts.delete(id);
  update({ drafts });
}

export function sortBy(key) {
  const { sort } = state;
  const firstDescending = ["utilization", "memory", "temperature", "power", "free", "seen"].includes(key);
  const descending = sort.key === key ? !sort.descending : firstDescending;
  update({ sort: { key, descending } });
}
