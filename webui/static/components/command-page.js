// One command, at an address that can be passed on.

import { html } from "../lib/html.js";
import { CommandView } from "./command-view.js";

export function CommandPage({ id }) {
  return html`<main class="page page-narrow">
    <h1 class="page-title" tabindex="-1">Command <code>${id}</code></h1>
    <section class="card"><${CommandView} key=${id} id=${id} /></section>
  </main>`;
}
