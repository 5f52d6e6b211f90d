// Adding somebody: the server makes up the password and says it once.

import { html, useState } from "../lib/html.js";
import { RoleFields, roleOf } from "./role-fields.js";

export function UserForm({ change, made }) {
  const [round, setRound] = useState(0);

  async function submit(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const answer = await change("POST", "users", { name: new FormData(form).get("name").trim(), ...roleOf(form) });
    if (answer === null) return;
    made(answer);
    setRound(round + 1);
  }

  return html`<form class="fields" key=${round} onSubmit=${submit}>
    <label>
      <span>Name</span>
      <input class="field" name="name" maxlength="63" autocomplete="off" autocapitalize="off" spellcheck=${false} required />
    </label>
    <${RoleFields} />
    <button class="button">Add</button>
  </form>`;
}
