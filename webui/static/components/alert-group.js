// All alerts that fire by one rule: each by itself while they are few, else folded, with what can be done about all.

import { acknowledgeAll, askSilence } from "../lib/alert_actions.js";
import { inOrder } from "../lib/alerts.js";
import { notify } from "../lib/actions.js";
import { send } from "../lib/api.js";
import { number, plural } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AlertRow } from "./alert-row.js";
import { SeverityBadge } from "./severity-badge.js";
import { SureButton } from "./sure-button.js";

export const GROUPED_FROM = 6;
const MORE_AT_ONCE = 100;
const MOST_LISTED = 500;
const ASKED_AGAIN_AFTER_MS = 700;

/** Return the alerts of a rule to list: those that are pushed, and as many more as are wanted, asked for as they change. */
function useAlertsOf(count, pushed, wanted) {
  const [more, setMore] = useState([]);
  useEffect(() => {
    if (wanted <= pushed.length) return undefined;
    let isCurrent = true;
    const timer = setTimeout(
      async () => {
        const asked = new URLSearchParams({ rule: count.rule, severity: count.severity, limit: wanted });
        const answer = await send("GET", `alerts?${asked}`);
        if (answer.error) notify(answer.error);
        else if (isCurrent) setMore(answer.alerts);
      },
      more.length < wanted ? 0 : ASKED_AGAIN_AFTER_MS,
    );
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [count.firing, count.open, count.newest, wanted]);
  if (wanted <= pushed.length) return pushed;
  const known = new Set(pushed.map((alert) => alert.id));
  return inOrder([...pushed, ...more.filter((alert) => !known.has(alert.id))]);
}

function Tools({ count }) {
  const session = useStore((state) => state.session);
  if (!session.may_run) return null;
  const where = session.commands_on === null ? "" : " of yours";
  return html`<span class="alert-buttons">
    ${count.open > 0 &&
    html`<${SureButton}
      text="Acknowledge all"
      sure=${`Acknowledge all${where}`}
      label=${`Acknowledge all alerts of ${count.rule}${where}`}
      onSure=${() => acknowledgeAll(count.rule)}
    />`}
    <button class="button button-small" aria-label=${`Silence the rule ${count.rule}`} onClick=${() => askSilence({ rule: count.rule })}>Silence…</button>
  </span>`;
}

export function AlertGroup({ count, pushed, isOpen, flip }) {
  const [wanted, setWanted] = useState(0);
  const listed = useAlertsOf(count, pushed, isOpen ? wanted : 0);
  const left = count.firing - listed.length;
  return html`<li class="alert-group">
    <div class="alert-group-head alert-${count.severity}">
      <span class="alert-severity"><${SeverityBadge} severity=${count.severity} /></span>
      <button class="fold" aria-expanded=${isOpen} onClick=${flip}>
        <span class="fold-mark" aria-hidden="true">${isOpen ? "▾" : "▸"}</span>${count.rule}
      </button>
      <span class="quiet alert-group-told">
        ${number(count.firing)} fire on ${plural(count.workers, "worker")} · ${count.open === 0 ? "all seen to" : `${number(count.open)} not seen to`}
      </span>
      <${Tools} count=${count} />
    </div>
    ${isOpen &&
    html`<ul class="alert-list">
        ${listed.map((alert) => html`<${AlertRow} key=${alert.id} alert=${alert} hidesRule />`)}
      </ul>
      ${left > 0 &&
      html`<p class="alert-left quiet">
        ${plural(left, "more alert", "more alerts")}
        ${listed.length < MOST_LISTED &&
        html`<button class="button" onClick=${() => setWanted(Math.min(Math.max(wanted, listed.length) + MORE_AT_ONCE, MOST_LISTED))}>Show more</button>`}
      </p>`}`}
  </li>`;
}
