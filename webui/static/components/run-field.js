// A command field for one worker, with Run. What was typed stays when its row scrolls out of sight and back.

import { draft, run } from "../lib/actions.js";
import { html, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";

export function RunField({ workerId }) {
  const text = useStore((state) => state.drafts.get(workerId) ?? "");
  const [sending, setSending] = useState(false);

  async function submit(event) {
    event.preventDefault();
    if (!text.trim() || sending) return;
    setSending(true);
    if (await run(text, [workerId])) draft(workerId, "");
    setSending(false);
  }

  return html`<form class="run-field" onSubmit=${submit}>
    <input
      class="field command-input"
      aria-label=${`Command for ${workerId}`}
      placeholder="command"
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      value=${text}
      onInput=${(event) => draft(workerId, event.currentTarget.value)}
    />
    <button class="button" disabled=${sending || !text.trim()}>Run</button>
  </form>`;
}
