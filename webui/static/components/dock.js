// What stays at the bottom of a view: the output of the command that was run last, and the view's own panel.

import { html } from "../lib/html.js";
import { commandPath } from "../lib/router.js";
import { update, useStore } from "../lib/store.js";
import { CommandView } from "./command-view.js";

export function Dock({ children }) {
  const docked = useStore((state) => state.docked);
  const isOpen = useStore((state) => state.dockOpen);
  return html`<div class="dock">
    ${docked !== null &&
    html`<section class="dock-output ${isOpen ? "is-open" : ""}" aria-label="Output of the last command">
      <div class="dock-tools">
        <button class="button button-quiet" aria-expanded=${isOpen} onClick=${() => update({ dockOpen: !isOpen })}>
          ${isOpen ? "Hide output" : "Show output"}
        </button>
        <a class="button button-quiet" href=${commandPath(docked)}>Open</a>
        <button class="button button-quiet" onClick=${() => update({ docked: null })} aria-label="Close the output">Close</button>
      </div>
      <${CommandView} key=${docked} id=${docked} isOpen=${isOpen} />
    </section>`}
    ${children}
  </div>`;
}
