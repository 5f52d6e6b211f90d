// The line that lets one machine in, and what to do with it, until an admin is done with it.

import { html } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { CopyLine } from "./copy-line.js";

export function JoinLine() {
  const made = useStore((state) => state.joinLine);
  if (made === null) return null;
  return html`<section class="card secret" role="status" aria-label="A line that joins a machine">
    <p>On the new machine, run this, and paste the line below when it asks. It lets one machine in, within a day.</p>
    <${CopyLine} text="gpumon agent --join -" />
    <${CopyLine} text=${made.line} />
    ${made.is_local && html`<p class="quiet">It leads to this machine alone: start gpumon up with --host ADDRESS to let others join.</p>`}
    <button class="button" onClick=${() => update({ joinLine: null })}>Done</button>
  </section>`;
}
