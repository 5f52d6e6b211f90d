// Keeps the store's alerts up to date from what the server pushes: sums over all that fire, marks of workers and cards,
// and the gravest alerts themselves. What is beyond those is asked for where it is shown.

import { told as notifyOf } from "./alert_notify.js";
import { learnTime } from "./clock.js";
import { socket, watch } from "./live.js";
import { state, update } from "./store.js";

// The gravest first.
export const SEVERITIES = ["page", "warning", "note"];

const NO_MARK = {};

/** Return alerts in the order in which they are listed: the gravest first, then the newest. */
export function inOrder(alerts) {
  const rank = ({ severity }) => SEVERITIES.indexOf(severity);
  return [...alerts].sort((a, b) => rank(a) - rank(b) || b.since - a.since || (a.id < b.id ? -1 : 1));
}

/** Return the gravest severity that fires on a worker, or on one of its cards; undefined where nothing does. */
export function markOf(marks, workerId, uuid = "") {
  return (marks.get(workerId) ?? NO_MARK)[uuid];
}

/** Return how many alerts fire, of one severity or of all. */
export function firing(counts, severity) {
  const counted = severity === undefined ? SEVERITIES : [severity];
  return counted.reduce((sum, name) => sum + (counts[name]?.firing ?? 0), 0);
}

function snapshotArrived(snapshot) {
  if (snapshot.error) return;
  const { counts, rules, alerts, marks } = snapshot;
  const byId = new Map(alerts.map((alert) => [alert.id, alert]));
  update({ alerts: { loaded: true, counts, rules, byId, marks: new Map(Object.entries(marks)) } });
  notifyOf(alerts, false);
}

function changeArrived({ time, counts, rules, alerts, gone, marks: marked }) {
  learnTime(time);
  if (!state.alerts.loaded) return;
  const byId = new Map(state.alerts.byId);
  for (const id of gone) byId.delete(id);
  for (const alert of alerts) byId.set(alert.id, alert);
  let { marks } = state.alerts;
  const workers = Object.entries(marked);
  if (workers.length > 0) marks = new Map(marks);
  for (const [worker, mark] of workers) {
    if ("" in mark) marks.set(worker, mark);
    else marks.delete(worker);
  }
  update({ alerts: { loaded: true, counts, rules, byId, marks } });
  notifyOf(alerts, true);
}

/** Watch what fires from now on, whichever view is shown. */
export function startAlerts() {
  watch("alerts", snapshotArrived);
  socket.on("alerts_changed", changeArrived);
  socket.on("alert_rules_changed", () => update({ alertRulesVersion: state.alertRulesVersion + 1 }));
}
