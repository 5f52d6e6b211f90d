// A secret that was made just now: shown this once, to be copied.

import { html } from "../lib/html.js";
import { CopyLine } from "./copy-line.js";

export function SecretOnce({ title, secret, close }) {
  return html`<div class="secret" role="status">
    <p><strong>${title}</strong> It is shown this once: copy it now.</p>
    <${CopyLine} text=${secret} />
    <button class="button" onClick=${close}>Done</button>
  </div>`;
}
