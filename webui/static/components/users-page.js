// People's accounts, for admins: who there is, what each may do, and adding somebody.

import { html, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { useLoaded } from "../lib/use_loaded.js";
import { AdminTabs } from "./admin-tabs.js";
import { SecretOnce } from "./secret-once.js";
import { UserForm } from "./user-form.js";
import { UserRow } from "./user-row.js";

export function UsersPage() {
  const self = useStore((state) => state.session.user);
  const [loaded, , change] = useLoaded("users");
  const [made, setMade] = useState(null);
  return html`<main class="page page-narrow">
    <${AdminTabs} current="users" />
    <h1 class="page-title" tabindex="-1">Users</h1>
    ${made !== null &&
    html`<section class="card">
      <${SecretOnce} title=${`This is ${made.name}'s password.`} secret=${made.password} close=${() => setMade(null)} />
    </section>`}
    <section class="card" aria-label="People">
      ${loaded === null
        ? html`<p class="quiet">Loading…</p>`
        : html`<ul class="entries">
            ${loaded.users.map(
              (user) => html`<${UserRow} key=${user.name} user=${user} isSelf=${user.name === self} change=${change} made=${setMade} />`,
            )}
          </ul>`}
    </section>
    <section class="card" aria-labelledby="add-title">
      <h2 id="add-title">Add somebody</h2>
      <${UserForm} change=${change} made=${setMade} />
    </section>
  </main>`;
}
