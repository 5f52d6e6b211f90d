// The button that makes a join line, and what to do with it; for admins.

import { notify } from "../lib/actions.js";
import { send } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { CopyLine } from "./copy-line.js";

export function AddWorker() {
  const [line, setLine] = useState(null);

  async function make() {
    const answer = await send("POST", "join-keys", {});
    if (answer.error) notify(answer.error);
    else setLine(answer.line);
  }

  if (line === null) return html`<button class="button" onClick=${make}>Add worker</button>`;
  return html`<div class="secret" role="status">
    <p>On the new machine, run this, and paste the line below when it asks. It lets one machine in, within a day.</p>
    <${CopyLine} text="gpumon agent --join -" />
    <${CopyLine} text=${line} />
    <button class="button" onClick=${() => setLine(null)}>Done</button>
  </div>`;
}
