// What may be done about an alert that fires: acknowledge it, silence it, start a command that its rule offers.

import { acknowledge, askAction, askSilence, unacknowledge } from "../lib/alert_actions.js";
import { html, useState } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { useStore } from "../lib/store.js";

export function AlertButtons({ alert }) {
  const session = useStore((state) => state.session);
  const [isSending, setSending] = useState(false);
  if (alert.state !== "firing" || !mayCommand(session, alert.labels)) return null;
  const isSeen = alert.acknowledged_by !== null;
  const named = `${alert.rule} on ${alert.worker_id}`;

  async function flip() {
    setSending(true);
    await (isSeen ? unacknowledge(alert) : acknowledge(alert));
    setSending(false);
  }

  return html`<span class="alert-buttons">
    ${alert.actions.length > 0 &&
    html`<button class="button button-small" aria-label=${`Act on ${named}`} onClick=${() => askAction(alert)}>Act…</button>`}
    <button
      class="button button-small"
      disabled=${isSending}
      aria-label=${`${isSeen ? "Take back the acknowledgement of" : "Acknowledge"} ${named}`}
      onClick=${flip}
    >
      ${isSeen ? "Take back" : "Acknowledge"}
    </button>
    <button class="button button-small" aria-label=${`Silence ${named}`} onClick=${() => askSilence({ alert })}>Silence…</button>
  </span>`;
}
