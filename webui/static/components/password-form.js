// Another password for oneself; the other sessions end with the old one.

import { notify } from "../lib/actions.js";
import { html, useState } from "../lib/html.js";

export function PasswordForm({ user, change }) {
  const [done, setDone] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const { old, fresh, again } = Object.fromEntries(new FormData(form));
    setDone(false);
    if (fresh !== again) {
      notify("the two new passwords differ: nothing was changed");
    } else if (await change("POST", "account/password", { old, new: fresh })) {
      form.reset();
      setDone(true);
    }
  }

  return html`<form class="fields" onSubmit=${submit}>
    <input type="text" name="user" value=${user} autocomplete="username" hidden readonly />
    <label><span>Old password</span><input class="field" name="old" type="password" autocomplete="current-password" required /></label>
    <label>
      <span>New password</span>
      <input class="field" name="fresh" type="password" autocomplete="new-password" minlength="8" maxlength="1024" required />
    </label>
    <label>
      <span>The same again</span>
      <input class="field" name="again" type="password" autocomplete="new-password" minlength="8" maxlength="1024" required />
    </label>
    <button class="button">Change password</button>
    ${done && html`<p class="quiet" role="status">Changed. Everywhere else you are logged out.</p>`}
  </form>`;
}
