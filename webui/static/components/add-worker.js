// The button that makes a join line, and what to do with it; for admins.

import { notify } from "../lib/actions.js";
import { send } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { CopyLine } from "./copy-line.js";

export function AddWorker() {
  const [made, setMade] = useState(null);

  async function make() {
    const answer = await send("POST", "join-keys", {});
    if (answer.error) notify(answer.error);
    else setMade(answer);
  }

  if (made === null) return html`<button class="button" onClick=${make}>Add worker</button>`;
  return html`<div class="secret" role="status">
    <p>On the new machine, run this, and paste the line below when it asks. It lets one machine in, within a day.</p>
    <${CopyLine} text="gpumon agent --join -" />
    <${CopyLine} text=${made.line} />
    ${made.is_local && html`<p class="quiet">It leads to this machine alone: start gpumon up with --host ADDRESS to let others join.</p>`}
    <button class="button" onClick=${() => setMade(null)}>Done</button>
  </div>`;
}
