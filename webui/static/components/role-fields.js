// A role, and the limit that goes with it: operators by label, integrations nowhere unless granted.

import { html, useState } from "../lib/html.js";

export const ROLES = [
  ["viewer", "viewer: looks at everything"],
  ["operator", "operator: runs commands as well"],
  ["integration", "integration: for Home Assistant and the like, over MQTT and the API"],
  ["admin", "admin: changes accounts as well"],
];

/** Return what a form with these fields asks for. */
export function roleOf(form) {
  const { role, limit = "" } = Object.fromEntries(new FormData(form));
  return { role, commands_on: limit.trim() || null };
}

export function RoleFields({ role = "viewer", limit = "" }) {
  const [chosen, setChosen] = useState(role);
  const [typed, setTyped] = useState(limit);
  return html`<label>
      <span>Role</span>
      <select class="field" name="role" value=${chosen} onChange=${(event) => setChosen(event.currentTarget.value)}>
        ${ROLES.map(([name, text]) => html`<option key=${name} value=${name} selected=${name === chosen}>${text}</option>`)}
      </select>
    </label>
    ${["operator", "integration"].includes(chosen) &&
    html`<label>
      <span>Commands on</span>
      <input
        class="field"
        name="limit"
        value=${typed}
        onInput=${(event) => setTyped(event.currentTarget.value)}
        placeholder=${chosen === "operator" ? "all, or rack=3,site=a" : "none, all, or rack=3,site=a"}
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
      />
    </label>`}`;
}
