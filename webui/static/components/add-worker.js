// The button that makes a join line, for admins. The line is kept in the store: it stays to be copied while workers appear.

import { addWorker } from "../lib/actions.js";
import { html } from "../lib/html.js";

export function AddWorker() {
  return html`<button class="button" onClick=${addWorker}>Add worker</button>`;
}
