// What fires now, the gravest first; many of one rule in a group.

import { canNotify, isNotifying, setNotifying } from "../lib/alert_notify.js";
import { firing, inOrder } from "../lib/alerts.js";
import { html, useMemo, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AlertGroup, GROUPED_FROM } from "./alert-group.js";
import { AlertRow } from "./alert-row.js";

/** Return what is listed: a rule's alerts one by one, or as a group where there are many. */
function itemsOf(rules, byId) {
  const ofRule = new Map();
  for (const alert of inOrder(byId.values())) {
    const name = `${alert.severity} ${alert.rule}`;
    ofRule.set(name, [...(ofRule.get(name) ?? []), alert]);
  }
  const groups = rules.map((count) => ({ count, alerts: ofRule.get(`${count.severity} ${count.rule}`) ?? [] }));
  const single = inOrder(groups.filter(({ count }) => count.firing < GROUPED_FROM).flatMap(({ alerts }) => alerts));
  const items = [
    ...groups.filter(({ count }) => count.firing >= GROUPED_FROM).map((group) => ({ ...group, severity: group.count.severity, since: group.count.newest, id: "" })),
    ...single.map((alert) => ({ alert, severity: alert.severity, since: alert.since, id: alert.id })),
  ];
  return inOrder(items);
}

function NotifySwitch() {
  const [isOn, setOn] = useState(isNotifying());
  if (!canNotify()) return null;
  return html`<label class="alert-notify">
    <input type="checkbox" checked=${isOn} onChange=${async (event) => setOn(await setNotifying(event.currentTarget.checked))} />
    Notify me in this browser when a page alert fires
  </label>`;
}

function Nothing() {
  return html`<div class="nothing alerts-none">
    <p><strong>No alert fires.</strong></p>
    <p>What is looked for stands under <a href="/alerts/rules">Rules</a>, what fired before under <a href="/alerts/past">Past</a>.</p>
  </div>`;
}

export function AlertsFiring() {
  const { loaded, counts, rules, byId } = useStore((state) => state.alerts);
  const [open, setOpen] = useState(new Set());
  const items = useMemo(() => itemsOf(rules, byId), [rules, byId]);

  function flip(name) {
    const next = new Set(open);
    if (!next.delete(name)) next.add(name);
    setOpen(next);
  }

  return html`<section class="card" aria-label="Firing alerts">
      ${!loaded && html`<p class="quiet">Loading…</p>`}
      ${loaded && firing(counts) === 0 && html`<${Nothing} />`}
      <ul class="alert-list">
        ${items.map(({ alert, count, alerts }) => {
          if (alert) return html`<${AlertRow} key=${alert.id} alert=${alert} />`;
          const name = `${count.severity} ${count.rule}`;
          return html`<${AlertGroup} key=${name} count=${count} pushed=${alerts} isOpen=${open.has(name)} flip=${() => flip(name)} />`;
        })}
      </ul>
    </section>
    <${NotifySwitch} />`;
}
