// One's own account: password, API tokens, and where one is logged in.

import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { useLoaded } from "../lib/use_loaded.js";
import { AdminTabs } from "./admin-tabs.js";
import { PasswordForm } from "./password-form.js";
import { SessionList } from "./session-list.js";
import { TokenList } from "./token-list.js";

function mayDo({ role, may_run: mayRun, commands_on: limit }) {
  if (!mayRun) return "may look at everything";
  const labels = Object.entries(limit ?? {}).map(([key, value]) => `${key}=${value}`);
  const where = labels.length > 0 ? `workers with ${labels.join(" and ")}` : "every worker";
  return `may run commands on ${where}${role === "admin" ? ", and change accounts" : ""}`;
}

export function AccountPage() {
  const session = useStore((state) => state.session);
  const [account, , change] = useLoaded("account");
  return html`<main class="page page-narrow">
    <${AdminTabs} current="account" />
    <header>
      <h1 class="page-title" tabindex="-1">${session.user}</h1>
      <p class="quiet">${session.role}: ${mayDo(session)}</p>
    </header>
    <section class="card" aria-labelledby="password-title">
      <h2 id="password-title">Password</h2>
      <${PasswordForm} user=${session.user} change=${change} />
    </section>
    <section class="card" aria-labelledby="tokens-title">
      <h2 id="tokens-title">API tokens</h2>
      <p class="quiet">
        A program shows a token in place of the password: as <code>Authorization: Bearer</code> at the API, and as the password
        of ${session.user} at the MQTT broker.
      </p>
      <${TokenList} tokens=${account?.tokens ?? null} change=${change} />
    </section>
    <section class="card" aria-labelledby="sessions-title">
      <h2 id="sessions-title">Where you are logged in</h2>
      <${SessionList} sessions=${account?.sessions ?? null} own=${account?.session} change=${change} />
      <form class="log-out" method="post" action="/logout">
        <input type="hidden" name="csrf" value=${session.csrf} />
        <button class="button">Log out here</button>
      </form>
    </section>
  </main>`;
}
