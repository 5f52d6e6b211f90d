// Whether what is shown is live; and where it is not, since when, and why.

import { age, clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";
import { useNow } from "../lib/clock.js";
import { useStore } from "../lib/store.js";

export function ConnectionPill() {
  const { phase } = useStore((state) => state.connection);
  const isBroken = useStore((state) => state.brokerProblem !== null);
  if (phase === "live" && !isBroken) return html`<span class="pill pill-live">Live</span>`;
  return html`<span class="pill pill-lost">${phase === "connecting" ? "Connecting" : "Not live"}</span>`;
}

function SinceHeard({ heard }) {
  useNow();
  const seconds = (Date.now() - heard) / 1000;
  return html`What is shown is from ${clockTime(heard / 1000)}, ${age(seconds)}.`;
}

export function ConnectionBanner() {
  const { phase, message, heard } = useStore((state) => state.connection);
  const problem = useStore((state) => state.brokerProblem);
  const historyProblem = useStore((state) => state.historyProblem);
  const mastersProblem = useStore((state) => state.mastersProblem);
  if (phase === "refused") {
    return html`<div class="banner" role="alert"><strong>Not live:</strong> ${message}. <${SinceHeard} heard=${heard} /></div>`;
  }
  if (phase === "lost") {
    return html`<div class="banner" role="alert">
      <strong>Not live:</strong> the connection to the master is lost; connecting again. <${SinceHeard} heard=${heard} />
    </div>`;
  }
  if (problem !== null) {
    return html`<div class="banner" role="alert"><strong>No new readings:</strong> the master says: ${problem}</div>`;
  }
  if (mastersProblem !== null) {
    return html`<div class="banner" role="alert"><strong>Masters apart:</strong> ${mastersProblem}</div>`;
  }
  if (historyProblem !== null) {
    return html`<div class="banner" role="alert"><strong>No history:</strong> ${historyProblem}</div>`;
  }
  return null;
}
