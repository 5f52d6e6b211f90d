// What the fleet view shows before the first worker: how to join one.

import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { CopyLine } from "./copy-line.js";

export function EmptyFleet() {
  const [add, start] = useStore((state) => state.session.join);
  return html`<section class="card empty">
    <h2>No worker has joined yet</h2>
    <p>On this machine, let a worker in. The command writes its token to a file:</p>
    <${CopyLine} text=${add} />
    <p>Then start the agent with that file, in place of <code>NAME</code> the name you gave:</p>
    <${CopyLine} text=${start} />
    <p class="quiet">The worker appears here with its first sample, a few seconds later.</p>
  </section>`;
}
