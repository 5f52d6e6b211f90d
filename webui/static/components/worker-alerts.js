// The alerts of a worker's page: those that fire on the whole worker or on one of its cards, and what fired there before.

import { inOrder } from "../lib/alerts.js";
import { send } from "../lib/api.js";
import { plural } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { AlertRow } from "./alert-row.js";

const MOST_PAST = 200;
const MOST_SHOWN = 10;

/** Return a worker's past alerts, asked for again when one more has ended. */
export function usePastAlerts(worker, firing) {
  const [past, setPast] = useState([]);
  const ids = firing.map((alert) => alert.id).join();
  useEffect(() => {
    let isCurrent = true;
    const asked = new URLSearchParams({ worker, limit: MOST_PAST });
    send("GET", `alerts/past?${asked}`).then((answer) => isCurrent && setPast(answer.alerts ?? []));
    return () => {
      isCurrent = false;
    };
  }, [worker, ids]);
  return past;
}

function Past({ worker, alerts }) {
  const [isOpen, setOpen] = useState(false);
  if (alerts.length === 0) return null;
  const more = new URLSearchParams({ worker });
  return html`<details class="past-alerts" open=${isOpen} onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${plural(alerts.length, "past alert")}</summary>
    ${isOpen &&
    html`<ul class="alert-list">
        ${alerts.slice(0, MOST_SHOWN).map((alert) => html`<${AlertRow} key=${alert.id} alert=${alert} isHere />`)}
      </ul>
      ${alerts.length > MOST_SHOWN && html`<p><a href="/alerts/past?${more}">All past alerts of ${worker}</a></p>`}`}
  </details>`;
}

/** The alerts about one card, or with `gpu` null about the whole worker. */
export function AlertsAbout({ worker, gpu, firing, past }) {
  const about = (alerts) => alerts.filter((alert) => alert.gpu === gpu);
  const now = inOrder(about(firing));
  const before = about(past);
  if (now.length === 0 && before.length === 0) return null;
  return html`<div class="alerts-about">
    ${now.length > 0 && html`<ul class="alert-list" aria-label="Firing alerts">${now.map((alert) => html`<${AlertRow} key=${alert.id} alert=${alert} isHere />`)}</ul>`}
    <${Past} worker=${worker} alerts=${before} />
  </div>`;
}
