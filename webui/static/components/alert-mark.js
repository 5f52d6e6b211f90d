// The mark beside a worker or card on which an alert fires: the gravest, which leads to what it is.

import { markOf } from "../lib/alerts.js";
import { html } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { SeverityMark } from "./severity-badge.js";

export function AlertMark({ worker, uuid = "" }) {
  const severity = useStore((state) => markOf(state.alerts.marks, worker, uuid));
  if (severity === undefined) return null;
  const told = `${severity === "note" ? "a note" : `a ${severity} alert`} fires on ${uuid === "" ? worker : "this card"}`;
  return html`<a class="alert-mark" href=${workerPath(worker)} title=${told} aria-label=${told}>
    <${SeverityMark} severity=${severity} />
  </a>`;
}
