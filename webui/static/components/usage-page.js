// Usage: who has held which cards, how busy they were, what it took and what it costs.

import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { addressOf, fetchUsage, fromAddress, queryOf, spanOf } from "../lib/usage.js";
import { UsageFilter } from "./usage-filter.js";
import { UsagePlot } from "./usage-plot.js";
import { UsageSum } from "./usage-sum.js";
import { UsageTable } from "./usage-table.js";

const AGAIN_MS = 60_000;

/** Return the answer for what is asked, `null` before there is one; it is asked for again each minute. */
function useUsage(view) {
  const [found, setFound] = useState(null);
  const asked = JSON.stringify([view.range, view.by, view.metric, view.user, view.worker, view.label, view.from, view.to]);
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    async function read() {
      const span = spanOf(view);
      const answer = span.problem ? { error: span.problem } : await fetchUsage(view, span);
      if (isOver) return;
      setFound({ ...answer, asked });
      timer = setTimeout(read, AGAIN_MS);
    }
    read();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [asked]);
  return [found, found !== null && found.asked === asked];
}

/** Return what the address asks for, and what changes it: `push` for a step that the browser can take back. */
function useView() {
  const route = useStore((state) => state.route);
  const [view, setView] = useState(fromAddress);
  useEffect(() => setView(fromAddress()), [route]);
  function change(changes, push = false) {
    const next = { ...view, ...changes };
    if (push) history.pushState(null, "", addressOf(next));
    else history.replaceState(history.state, "", addressOf(next));
    setView(next);
  }
  return [view, change];
}

function Nothing({ view }) {
  const isFiltered = view.user || view.worker || view.label;
  return html`<section class="card empty usage-empty">
    <h2>Nothing is known of this time</h2>
    <p>
      ${isFiltered
        ? "No card was seen with what the filter asks for. Take it away, or choose another time."
        : "Usage is counted from the samples that workers send while the master runs. Choose another time, or come back in a minute."}
    </p>
  </section>`;
}

function Found({ view, change, found }) {
  const { totals, series } = found;
  return html`<${UsageSum} totals=${totals} />
    <${UsagePlot} view=${view} change=${change} series=${series} />
    <${UsageTable} view=${view} change=${change} totals=${totals} series=${series} />`;
}

export function UsagePage() {
  const [view, change] = useView();
  const [found, isCurrent] = useUsage(view);
  const span = spanOf(view);
  const isEmpty = found?.totals?.groups.length === 0;
  return html`<main class="page usage">
    <div class="section-head usage-head">
      <h1 class="page-title" tabindex="-1">Usage</h1>
      ${!span.problem && html`<a class="button" download href="/api/v1/usage.csv?${queryOf(view, span)}">CSV</a>`}
    </div>
    <${UsageFilter} view=${view} change=${change} labelKeys=${found?.totals?.label_keys ?? []} />
    ${found?.totals?.problem && html`<p class="is-bad" role="status">${found.totals.problem}</p>`}
    ${found === null && html`<p class="quiet">Loading…</p>`}
    ${found?.error && html`<p class="is-bad" role="alert">${found.error}</p>`}
    ${isEmpty && html`<${Nothing} view=${view} />`}
    ${found?.totals &&
    !isEmpty &&
    html`<div class=${`usage-found ${isCurrent ? "" : "is-old"}`}><${Found} view=${{ ...view, by: found.totals.by }} change=${change} found=${found} /></div>`}
  </main>`;
}
