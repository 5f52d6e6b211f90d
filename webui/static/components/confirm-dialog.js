// Asks before a command goes to many workers.

import { html, useEffect, useRef } from "../lib/html.js";
import { state, update, useStore } from "../lib/store.js";

const MOST_NAMED = 30;

function answer(isYes) {
  const { resolve } = state.confirming;
  update({ confirming: null });
  resolve(isYes);
}

export function ConfirmDialog() {
  const asked = useStore((now) => now.confirming);
  const dialog = useRef(null);
  useEffect(() => {
    if (asked !== null && !dialog.current.open) dialog.current.showModal();
    if (asked === null && dialog.current.open) dialog.current.close();
  }, [asked]);
  const workers = asked?.workers ?? [];
  const more = workers.length - MOST_NAMED;
  return html`<dialog ref=${dialog} class="help" aria-labelledby="confirm-title" onCancel=${() => answer(false)}>
    ${asked !== null &&
    html`<h2 id="confirm-title">Run on ${workers.length} workers?</h2>
      <pre class="output">${asked.command}</pre>
      <p class="confirm-names quiet">${workers.slice(0, MOST_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}</p>
      <div class="confirm-buttons">
        <button class="button" autofocus onClick=${() => answer(false)}>Leave it</button>
        <button class="button button-primary" onClick=${() => answer(true)}>Run on ${workers.length}</button>
      </div>`}
  </dialog>`;
}
