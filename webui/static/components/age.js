// How long ago something was, counting on while it is looked at.

import { useNow } from "../lib/clock.js";
import { age, clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";

export function Age({ at }) {
  const now = useNow();
  return html`<time class="age" title=${clockTime(at)}>${age(at === null || at === undefined ? null : now - at)}</time>`;
}
