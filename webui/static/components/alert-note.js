// Acknowledging an alert with what others should know.

import { acknowledge } from "../lib/alert_actions.js";
import { html, useState } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { useStore } from "../lib/store.js";

export function AlertNote({ alert }) {
  const session = useStore((state) => state.session);
  const [note, setNote] = useState("");
  if (alert.state !== "firing" || alert.acknowledged_by !== null || !mayCommand(session, alert.labels)) return null;

  async function submit(event) {
    event.preventDefault();
    await acknowledge(alert, note.trim());
  }

  return html`<form class="run-field acknowledge-note" onSubmit=${submit}>
    <input
      class="field"
      aria-label="Note for others"
      placeholder="What others should know: “fan ordered, Chen is on it”"
      maxlength="500"
      autocomplete="off"
      value=${note}
      onInput=${(event) => setNote(event.currentTarget.value)}
    />
    <button class="button">Acknowledge with this note</button>
  </form>`;
}
