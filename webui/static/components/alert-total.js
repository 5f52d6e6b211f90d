// How many alerts fire, by severity: in the bar at the top of every view, and among the fleet's sums.

import { firing, SEVERITIES } from "../lib/alerts.js";
import { number, plural } from "../lib/format.js";
import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { SeverityMark } from "./severity-badge.js";

const WORDS = { page: ["page"], warning: ["warning"], note: ["note"] };

function Counts({ counts }) {
  return SEVERITIES.filter((severity) => firing(counts, severity) > 0).map(
    (severity) => html`<span key=${severity} class="alert-count alert-count-${severity} ${counts[severity].open === 0 ? "is-seen" : ""}">
      <${SeverityMark} severity=${severity} />
      <b>${number(counts[severity].firing)}</b><span class="visually-hidden"> ${severity} </span>
    </span>`,
  );
}

function inWords(counts) {
  const parts = SEVERITIES.filter((severity) => firing(counts, severity) > 0).map((severity) =>
    plural(counts[severity].firing, ...WORDS[severity]),
  );
  return parts.length === 0 ? "No alert fires" : `Firing alerts: ${parts.join(", ")}`;
}

/** The link of the bar at the top. */
export function AlertsLink({ current }) {
  const counts = useStore((state) => state.alerts.counts);
  const total = firing(counts);
  return html`<a href="/alerts" class="alerts-link" aria-current=${current} title=${inWords(counts)}>
    Alerts${total > 0 && html`<span class="alert-counts"><${Counts} counts=${counts} /></span>`}
  </a>`;
}

/** The tile among the fleet's sums. */
export function AlertTile() {
  const { loaded, counts } = useStore((state) => state.alerts);
  const total = firing(counts);
  const open = SEVERITIES.reduce((sum, severity) => sum + (counts[severity]?.open ?? 0), 0);
  return html`<div class="tile tile-alerts">
    <dt>Firing alerts</dt>
    <dd>
      <a class="tile-value" href="/alerts" title=${inWords(counts)}>
        ${total === 0 ? html`<span>${loaded ? "0" : "–"}</span>` : html`<${Counts} counts=${counts} />`}
      </a>
      <span class="tile-more">${total === 0 ? "all is well" : open === total ? "none acknowledged" : open === 0 ? "all seen to" : `${open} not seen to`}</span>
    </dd>
  </div>`;
}
