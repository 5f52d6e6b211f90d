// The audit, for admins: who did what, newest first, filtered, and all of it to keep.

import { notify } from "../lib/actions.js";
import { send } from "../lib/api.js";
import { html, useEffect, useState } from "../lib/html.js";
import { AdminTabs } from "./admin-tabs.js";
import { AuditRow } from "./audit-row.js";

const AT_ONCE = 100;
const SPANS = [
  ["", "all time"],
  ["86400", "last day"],
  ["604800", "last week"],
  ["2592000", "last 30 days"],
];
const ACTIONS = ["command", "alert", "silence", "alert_rule", "login", "logout", "session", "user", "token", "worker", "join_key"];

function query(filter) {
  const asked = new URLSearchParams();
  for (const key of ["who", "action", "worker"]) if (filter[key]) asked.set(key, filter[key]);
  if (filter.span) asked.set("since", String(Math.floor(Date.now() / 1000) - Number(filter.span)));
  return asked;
}

/** Return what was found so far, and what asks for more of it. */
function useEntries(filter) {
  const [found, setFound] = useState({ entries: null, hasMore: false });

  async function load(before) {
    const asked = query(filter);
    asked.set("limit", String(AT_ONCE));
    if (before !== undefined) asked.set("before", String(before));
    const answer = await send("GET", `audit?${asked}`);
    if (answer.error) notify(answer.error);
    return answer.entries ?? [];
  }

  useEffect(() => {
    let isCurrent = true;
    load().then((entries) => isCurrent && setFound({ entries, hasMore: entries.length === AT_ONCE }));
    return () => {
      isCurrent = false;
    };
  }, [filter]);

  async function more() {
    const entries = await load(found.entries.at(-1).seq);
    setFound({ entries: [...found.entries, ...entries], hasMore: entries.length === AT_ONCE });
  }

  return [found, more];
}

function Filter({ apply }) {
  function submit(event) {
    event.preventDefault();
    apply(Object.fromEntries(new FormData(event.currentTarget)));
  }

  return html`<form class="fields" onSubmit=${submit} onChange=${(event) => event.currentTarget.requestSubmit()}>
    <label><span>Who</span><input class="field" name="who" autocomplete="off" autocapitalize="off" spellcheck=${false} /></label>
    <label>
      <span>What</span>
      <select class="field" name="action">
        <option value="">anything</option>
        ${ACTIONS.map((action) => html`<option key=${action} value=${action}>${action.replace("_", " ")}</option>`)}
      </select>
    </label>
    <label><span>Worker</span><input class="field" name="worker" autocomplete="off" autocapitalize="off" spellcheck=${false} /></label>
    <label>
      <span>When</span>
      <select class="field" name="span">
        ${SPANS.map(([seconds, text]) => html`<option key=${text} value=${seconds}>${text}</option>`)}
      </select>
    </label>
    <button class="visually-hidden">Apply</button>
  </form>`;
}

export function AuditPage() {
  const [filter, setFilter] = useState({});
  const [{ entries, hasMore }, more] = useEntries(filter);
  return html`<main class="page page-narrow">
    <${AdminTabs} current="audit" />
    <h1 class="page-title" tabindex="-1">Audit</h1>
    <section class="card" aria-label="Filter">
      <${Filter} apply=${setFilter} />
      <p class="quiet exports">
        Keep what is found:${" "}<a download href="/api/v1/audit.csv?${query(filter)}">CSV</a>${" "}
        <a download href="/api/v1/audit.jsonl?${query(filter)}">JSON lines</a>
      </p>
    </section>
    <section class="card" aria-label="Entries">
      ${entries === null
        ? html`<p class="quiet">Loading…</p>`
        : html`<ul class="entries">
            ${entries.map((entry) => html`<${AuditRow} key=${entry.seq} entry=${entry} />`)}
          </ul>`}
      ${entries?.length === 0 && html`<p class="nothing">Nothing is found.</p>`}
      ${hasMore && html`<button class="button" onClick=${more}>Show older</button>`}
    </section>
  </main>`;
}
