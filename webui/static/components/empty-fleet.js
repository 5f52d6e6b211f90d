// What the fleet view shows before the first worker: how to join one.

import { html } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AddWorker } from "./add-worker.js";
import { CopyLine } from "./copy-line.js";

export function EmptyFleet() {
  const isAdmin = useStore((state) => state.session.role === "admin");
  return html`<section class="card empty">
    <h2>No worker has joined yet</h2>
    ${isAdmin
      ? html`<p>A new machine lets itself in with a line that is good once.</p>
          <${AddWorker} />`
      : html`<p>An admin adds one here, or on the master's machine with:</p>
          <${CopyLine} text="gpumon join-key" />`}
    <p class="quiet">The worker appears here with its first sample, a few seconds later.</p>
  </section>`;
}
