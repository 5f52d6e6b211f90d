// On which worker and card an alert is, as links.

import { cardText } from "../lib/alert_text.js";
import { html } from "../lib/html.js";
import { workerPath } from "../lib/router.js";

/** Return where on a worker's page a card stands. */
export function cardPath(alert) {
  return alert.gpu === null ? workerPath(alert.worker_id) : `${workerPath(alert.worker_id)}#${encodeURIComponent(alert.gpu)}`;
}

export function AlertWhere({ alert }) {
  const card = cardText(alert);
  return html`<span class="alert-where">
    <a href=${workerPath(alert.worker_id)}>${alert.worker_id}</a>${card !== null && html`<span title=${alert.gpu}> · ${card}</span>`}
  </span>`;
}
