// The bar at the top: where one is, whether it is live, and who is logged in.

import { html } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { AlertsLink } from "./alert-total.js";
import { ConnectionBanner, ConnectionPill } from "./connection-state.js";

export function PageHeader() {
  const session = useStore((state) => state.session);
  const { view } = useStore((state) => state.route);
  const current = (views) => (views.includes(view) ? "page" : undefined);
  return html`<header class="page-header">
    <a class="brand" href="/">gpumon</a>
    <nav aria-label="Main">
      <a href="/" aria-current=${current(["fleet", "worker"])}>Fleet</a>
      <a href="/commands" aria-current=${current(["commands", "command"])}>Commands</a>
      <${AlertsLink} current=${current(["alerts", "alert"])} />
      <a href="/usage" aria-current=${current(["usage"])}>Usage</a>
    </nav>
    <${ConnectionPill} />
    <${ConnectionBanner} />
    <button class="button button-quiet help-button" aria-label="Keys and looks" title="Keys and looks (?)" onClick=${() => update({ isHelpOpen: true })}>?</button>
    <form class="who" method="post" action="/logout">
      <input type="hidden" name="csrf" value=${session.csrf} />
      <a class="who-name" href="/account" aria-current=${current(["account", "users", "audit"])} title="Account, ${session.role}">
        ${session.user}<span class="quiet"> · ${session.role}</span>
      </a>
      <button class="button button-quiet">Log out</button>
    </form>
  </header>`;
}
