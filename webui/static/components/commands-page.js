// The commands that were run last, on all workers.

import { watchCommandList } from "../lib/fleet_live.js";
import { html, useEffect } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { CommandList } from "./command-list.js";

export function CommandsPage() {
  useEffect(watchCommandList, []);
  const commands = useStore((state) => state.commandList);
  return html`<main class="page page-narrow">
    <h1 class="page-title" tabindex="-1">Commands</h1>
    <section class="card">${commands === null ? html`<p class="quiet">Loading…</p>` : html`<${CommandList} commands=${commands} />`}</section>
  </main>`;
}
