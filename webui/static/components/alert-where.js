// On which worker and card an alert is, as links.

import { cardPlace, cardText } from "../lib/alert_text.js";
import { html } from "../lib/html.js";
import { workerPath } from "../lib/router.js";

export function AlertWhere({ alert }) {
  const card = cardPlace(alert);
  return html`<span class="alert-where">
    <a href=${workerPath(alert.worker_id)}>${alert.worker_id}</a>${card !== null && html`<span title=${`${cardText(alert)}, ${alert.gpu}`}> · ${card}</span>`}
  </span>`;
}
