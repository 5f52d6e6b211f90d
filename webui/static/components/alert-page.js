// One alert, for a link that is sent: all that is known of it, and what may be done.

import { acknowledgedText, cardText, KIND_WORDS, labelsText, thresholdText, valueText } from "../lib/alert_text.js";
import { path, send } from "../lib/api.js";
import { clockTime, duration, NONE, number } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { Age } from "./age.js";
import { AlertButtons } from "./alert-buttons.js";
import { AlertNote } from "./alert-note.js";
import { Dock } from "./dock.js";
import { Readings } from "./readings.js";
import { SeverityBadge } from "./severity-badge.js";

/** Return an alert as it is pushed, or else as the server answers, asked again whenever anything changes. */
function useAlert(id) {
  const pushed = useStore((state) => state.alerts.byId.get(id));
  const counts = useStore((state) => state.alerts.counts);
  const [answer, setAnswer] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    send("GET", path`alerts/${id}`).then((given) => isCurrent && setAnswer(given));
    return () => {
      isCurrent = false;
    };
  }, [id, pushed === undefined, counts]);
  return pushed ?? answer;
}

function entriesOf(alert) {
  const value = valueText(alert);
  return [
    ["Rule", html`<a href="/alerts/rules#${alert.rule}">${alert.rule}</a>`],
    ["Looks at", KIND_WORDS[alert.kind] ?? alert.kind],
    ["Worker", html`<a href=${workerPath(alert.worker_id)}>${alert.worker_id}</a>`],
    ["Card", alert.gpu === null ? "the whole worker" : `${cardText(alert)} (${alert.gpu})`],
    ["Value", value === null ? NONE : [value, thresholdText(alert)].filter(Boolean).join(", ")],
    ["Fired", html`${clockTime(alert.since)} · <${Age} at=${alert.since} />`],
    ...(alert.count > 1 ? [["Happened", `${number(alert.count)} times, last ${clockTime(alert.last)}`]] : []),
    ["Ended", alert.until === null ? "it goes on" : `${clockTime(alert.until)}, after ${duration(Math.round(alert.until - alert.since))}`],
    ["Seen by", alert.acknowledged_by === null ? "nobody has acknowledged it" : acknowledgedText(alert)],
    ["Notifications", alert.silenced ? "silenced" : "as its rule and channels have it"],
    ["Worker's labels", labelsText(alert.labels) || NONE],
  ];
}

function Found({ alert }) {
  return html`<section class="card" aria-labelledby="alert-title">
      <div class="section-head">
        <${SeverityBadge} severity=${alert.severity} />
        <span class=${alert.state === "firing" ? "tone-bad" : "tone-good"}><strong>${alert.state === "firing" ? "firing" : "ended"}</strong></span>
        <${AlertButtons} alert=${alert} />
      </div>
      <p id="alert-title" class="alert-title">${alert.text}</p>
      <${AlertNote} alert=${alert} />
      <${Readings} entries=${entriesOf(alert)} />
    </section>
    <p><a href="/alerts/past?${new URLSearchParams({ rule: alert.rule, worker: alert.worker_id })}">Earlier ones of this rule on ${alert.worker_id}</a></p>`;
}

export function AlertPage({ id }) {
  const alert = useAlert(id);
  return html`<main class="page page-narrow page-docked">
    <nav class="crumbs" aria-label="Where this is"><a href="/alerts">Alerts</a></nav>
    <h1 class="visually-hidden" tabindex="-1">Alert ${id}</h1>
    ${alert === null && html`<p class="quiet">Loading…</p>`}
    ${alert?.error && html`<section class="card empty"><h2>No alert ${id}</h2><p>${alert.error} <a href="/alerts">What fires now</a></p></section>`}
    ${alert && !alert.error && html`<${Found} alert=${alert} />`}
    <${Dock} />
  </main>`;
}
