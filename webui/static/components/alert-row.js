// One alert in a list: how grave, what, where, since when, its value against the limit, and who has seen it.

import { acknowledgedText, thresholdText, valueText } from "../lib/alert_text.js";
import { clockTime, duration } from "../lib/format.js";
import { html } from "../lib/html.js";
import { alertPath } from "../lib/router.js";
import { Age } from "./age.js";
import { AlertButtons } from "./alert-buttons.js";
import { AlertWhere } from "./alert-where.js";
import { SeverityBadge } from "./severity-badge.js";

function When({ alert }) {
  if (alert.state === "firing") return html`<span class="alert-when quiet"><${Age} at=${alert.since} /></span>`;
  return html`<span class="alert-when quiet">
    <time>${clockTime(alert.since)}</time>${alert.until === null ? "" : html` · lasted ${duration(Math.round(alert.until - alert.since))}`}
  </span>`;
}

/** `hidesRule` and `isHere`: the rule, or where it is, stands above the list already. */
export function AlertRow({ alert, hidesRule = false, isHere = false }) {
  const value = valueText(alert);
  const threshold = thresholdText(alert);
  const isSeen = alert.acknowledged_by !== null;
  return html`<li class="alert alert-${alert.severity} ${isSeen || alert.silenced ? "is-seen" : ""} ${alert.state === "firing" ? "" : "is-past"}">
    <span class="alert-severity">
      <${SeverityBadge} severity=${alert.severity} />
    </span>
    <span class="alert-what">
      <a class="alert-text" href=${alertPath(alert.id)}>${alert.text}</a>
      <span class="alert-more quiet">
        ${!isHere && html`<${AlertWhere} alert=${alert} />`}${!isHere && !hidesRule && " · "}${!hidesRule && html`<span>${alert.rule}</span>`}
        ${isSeen && html`<span class="tag alert-seen">${acknowledgedText(alert)}</span>`}
        ${alert.silenced && html`<span class="tag alert-silenced">silenced</span>`}
      </span>
    </span>
    <span class="alert-value">
      ${value !== null && html`<b>${value}</b>`}${threshold !== null && html`<span class="quiet">${threshold}</span>`}
    </span>
    <${When} alert=${alert} />
    <${AlertButtons} alert=${alert} />
  </li>`;
}
