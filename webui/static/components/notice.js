// A message about what was just asked for and did not work.

import { notify } from "../lib/actions.js";
import { html, useEffect } from "../lib/html.js";
import { useStore } from "../lib/store.js";

const SHOWN_MS = 10_000;

export function Notice() {
  const notice = useStore((state) => state.notice);
  useEffect(() => {
    if (notice === null) return undefined;
    const timer = setTimeout(() => notify(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [notice]);
  return html`<div class="notice-place" role="status" aria-live="polite">
    ${notice !== null &&
    html`<div class="notice">
      <span>${notice.text}</span>
      <button class="button button-quiet" onClick=${() => notify(null)}>Dismiss</button>
    </div>`}
  </div>`;
}
