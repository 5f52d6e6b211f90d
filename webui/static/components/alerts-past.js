// Alerts that have ended, the latest first, filtered; the filter stands in the address.

import { notify } from "../lib/actions.js";
import { SEVERITIES } from "../lib/alerts.js";
import { send } from "../lib/api.js";
import { html, useEffect, useState } from "../lib/html.js";
import { AlertRow } from "./alert-row.js";

const AT_ONCE = 50;
const ASKED_AFTER_MS = 250;
const FILTERS = ["rule", "worker", "severity"];

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  return Object.fromEntries(FILTERS.map((name) => [name, asked.get(name) ?? ""]));
}

function queryOf(filter) {
  return new URLSearchParams(FILTERS.filter((name) => filter[name].trim()).map((name) => [name, filter[name].trim()]));
}

/** Return what was found so far, and what asks for more of it. */
function useFound(filter) {
  const [found, setFound] = useState({ alerts: null, next: null });

  async function load(before) {
    const asked = queryOf(filter);
    asked.set("limit", String(AT_ONCE));
    if (before) asked.set("before", before);
    const answer = await send("GET", `alerts/past?${asked}`);
    if (answer.error) notify(answer.error);
    return answer.error ? { alerts: [], next: null } : answer;
  }

  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(
      async () => {
        const { alerts, next } = await load();
        if (isCurrent) setFound({ alerts, next });
      },
      found.alerts === null ? 0 : ASKED_AFTER_MS,
    );
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [filter]);

  async function more() {
    const { alerts, next } = await load(found.next);
    setFound({ alerts: [...found.alerts, ...alerts], next });
  }

  return [found, more];
}

function Filter({ filter, change }) {
  const field = (name, words) => html`<label>
    <span>${words}</span>
    <input
      class="field"
      type="search"
      value=${filter[name]}
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      onInput=${(event) => change({ ...filter, [name]: event.currentTarget.value })}
    />
  </label>`;
  return html`<form class="fields" role="search" aria-label="Past alerts" onSubmit=${(event) => event.preventDefault()}>
    ${field("rule", "Rule")} ${field("worker", "Worker")}
    <label>
      <span>Severity</span>
      <select class="field" value=${filter.severity} onChange=${(event) => change({ ...filter, severity: event.currentTarget.value })}>
        <option value="">any</option>
        ${SEVERITIES.map((name) => html`<option key=${name} value=${name} selected=${filter.severity === name}>${name}</option>`)}
      </select>
    </label>
  </form>`;
}

export function AlertsPast() {
  const [filter, setFilter] = useState(fromAddress);
  const [{ alerts, next }, more] = useFound(filter);
  const query = queryOf(filter).toString();

  useEffect(() => {
    const address = query ? `/alerts/past?${query}` : "/alerts/past";
    if (address !== location.pathname + location.search) history.replaceState(history.state, "", address);
  }, [query]);

  return html`<section class="card" aria-label="Past alerts">
    <${Filter} filter=${filter} change=${setFilter} />
    ${alerts === null && html`<p class="quiet">Loading…</p>`}
    ${alerts?.length === 0 && html`<p class="nothing">${query ? "No past alert matches." : "No alert has ended yet: what fires now stands under Firing."}</p>`}
    ${alerts?.length > 0 && html`<ul class="alert-list">${alerts.map((alert) => html`<${AlertRow} key=${alert.id} alert=${alert} />`)}</ul>`}
    ${next && html`<button class="button" onClick=${more}>Show older</button>`}
  </section>`;
}
