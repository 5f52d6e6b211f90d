// Alerts: what fires, what fired, by which rules, what is silenced, and who is told.

import { firing } from "../lib/alerts.js";
import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AlertChannels } from "./alert-channels.js";
import { AlertRules } from "./alert-rules.js";
import { AlertSilences } from "./alert-silences.js";
import { AlertsFiring } from "./alerts-firing.js";
import { AlertsPast } from "./alerts-past.js";
import { Dock } from "./dock.js";

const TABS = {
  firing: ["Firing", AlertsFiring],
  past: ["Past", AlertsPast],
  rules: ["Rules", AlertRules],
  silences: ["Silences", AlertSilences],
  channels: ["Channels", AlertChannels],
};

export function AlertsPage({ tab }) {
  const isAdmin = useStore((state) => state.session.role === "admin");
  const total = useStore((state) => firing(state.alerts.counts));
  const [, Tab] = TABS[tab];
  return html`<main class="page page-narrow page-docked">
    <h1 class="page-title" tabindex="-1">Alerts</h1>
    <nav class="tabs" aria-label="Alerts">
      ${Object.entries(TABS)
        .filter(([name]) => isAdmin || name !== "channels")
        .map(([name, [text]]) => {
          const href = name === "firing" ? "/alerts" : `/alerts/${name}`;
          return html`<a key=${name} href=${href} aria-current=${name === tab ? "page" : undefined}>
            ${text}${name === "firing" && total > 0 && html`<span class="count"> ${total}</span>`}
          </a>`;
        })}
    </nav>
    <${Tab} />
    <${Dock} />
  </main>`;
}
