// What belongs to accounts: one's own for everybody, people and the audit for admins.

import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";

const TABS = [
  ["account", "Account"],
  ["users", "Users"],
  ["audit", "Audit"],
];

export function AdminTabs({ current }) {
  const isAdmin = useStore((state) => state.session.role === "admin");
  if (!isAdmin) return null;
  return html`<nav class="tabs" aria-label="Accounts">
    ${TABS.map(([view, text]) => html`<a key=${view} href="/${view}" aria-current=${view === current ? "page" : undefined}>${text}</a>`)}
  </nav>`;
}
