// What people do about alerts. The server pushes what comes of it; an error is told.

import { notify } from "./actions.js";
import { path, send } from "./api.js";
import { update } from "./store.js";

async function told(method, at, body) {
  const answer = await send(method, at, body);
  notify(answer.error ?? null);
  return !answer.error;
}

export function acknowledge(alert, note = "") {
  return told("POST", path`alerts/${alert.id}/acknowledge`, { note });
}

export function unacknowledge(alert) {
  return told("POST", path`alerts/${alert.id}/unacknowledge`);
}

/** Acknowledge all that fire by a rule, where one may. */
export function acknowledgeAll(rule) {
  return told("POST", "alerts/acknowledge", { rule });
}

export function endSilence(silence) {
  return told("DELETE", path`alerts/silences/${silence.id}`);
}

/** Run a command that an alert offers, as it was shown; returns null once it was sent, else why not. */
export async function act(alert, action) {
  const answer = await send("POST", path`alerts/${alert.id}/actions`, { name: action.name, command: action.command });
  if (answer.error) return answer.error;
  update({ docked: answer.id, dockOpen: true, notice: null });
  return null;
}

/** Ask what is to be silenced; `given` is what is known of it: {alert}, or nothing. */
export function askSilence(given = {}) {
  update({ silencing: given });
}

export function askAction(alert) {
  update({ acting: alert });
}
