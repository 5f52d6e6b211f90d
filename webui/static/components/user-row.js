// One person in the list of users, with what an admin can do about them.

import { path } from "../lib/api.js";
import { clockTime, plural } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { RoleFields, roleOf } from "./role-fields.js";
import { SureButton } from "./sure-button.js";

function mayRun({ role, commands_on: limit }) {
  if (role === "admin") return "everything";
  return limit === "none" ? "no commands" : `commands on ${limit}`;
}

export function UserRow({ user, isSelf, change, made }) {
  const [isOpen, setOpen] = useState(false);

  async function submit(event) {
    event.preventDefault();
    if (await change("PATCH", path`users/${user.name}`, roleOf(event.currentTarget))) setOpen(false);
  }

  async function resetPassword() {
    const answer = await change("POST", path`users/${user.name}/password`);
    if (answer !== null) made(answer);
  }

  return html`<li>
    <span class="entry-name">${user.name} ${isSelf && html`<span class="tag">you</span>`}</span>
    <span class="quiet entry-more">
      ${user.role} · ${mayRun(user)} · ${plural(user.sessions, "session")} · ${plural(user.tokens, "API token")} · since${" "}
      ${clockTime(user.created)}
    </span>
    <button class="button button-quiet" aria-expanded=${isOpen} aria-label=${`Change ${user.name}`} onClick=${() => setOpen(!isOpen)}>
      ${isOpen ? "Close" : "Change"}
    </button>
    ${isOpen &&
    html`<div class="entry-open">
      <form class="fields" onSubmit=${submit}>
        <${RoleFields} role=${user.role} limit=${["operator", "integration"].includes(user.role) ? user.commands_on : ""} />
        <button class="button">Save</button>
      </form>
      <div class="entry-tools">
        <${SureButton} text="New password" sure="Make a new password" label=${`New password for ${user.name}`} onSure=${resetPassword} />
        ${user.sessions > 0 &&
        html`<${SureButton}
          text="End sessions"
          sure="Log out everywhere"
          label=${`End the sessions of ${user.name}`}
          onSure=${() => change("DELETE", path`users/${user.name}/sessions`)}
        />`}
        <${SureButton}
          text="Remove"
          sure="Remove for good"
          label=${`Remove ${user.name}`}
          onSure=${() => change("DELETE", path`users/${user.name}`)}
        />
      </div>
    </div>`}
  </li>`;
}
