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

/** What fired before on one card, or with `gpu` null on the whole worker, on demand. */
export function PastAlerts({ worker, gpu, past }) {
  const alerts = past.filter((alert) => alert.gpu === gpu);
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

/** The alerts that fire on one card, or with `gpu` null on the whole worker. */
export function AlertsAbout({ gpu, firing }) {
  const now = inOrder(firing.filter((alert) => alert.gpu === gpu));
  if (now.length === 0) return null;
  return html`<ul class="alert-list alerts-about" aria-label="Firing alerts">
    ${now.map((alert) => html`<${AlertRow} key=${alert.id} alert=${alert} isHere />`)}
  </ul>`;
}
