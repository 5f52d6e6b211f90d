// What nobody is notified of for now: how long it goes on, why, and who said so.

import { askSilence, endSilence } from "../lib/alert_actions.js";
import { coverText } from "../lib/alert_text.js";
import { useNow } from "../lib/clock.js";
import { clockTime, duration } from "../lib/format.js";
import { html, useEffect } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { useLoaded } from "../lib/use_loaded.js";
import { SureButton } from "./sure-button.js";

function Left({ until }) {
  const left = Math.max(until - useNow(), 0);
  return html`<span>until ${clockTime(until)}, ${left < 1 ? "ending" : `${duration(Math.floor(Math.max(left, 10)))} left`}</span>`;
}

function SilenceRow({ silence, mayEnd }) {
  return html`<li>
    <span class="entry-name">${coverText(silence)}</span>
    <span class="quiet entry-more">
      <${Left} until=${silence.until} /> · by ${silence.by}, ${clockTime(silence.created)}${silence.reason && html` · “${silence.reason}”`}
    </span>
    ${mayEnd && html`<${SureButton} text="End" sure="End it now" label=${`End the silence of ${coverText(silence)}`} onSure=${() => endSilence(silence)} />`}
  </li>`;
}

export function AlertSilences() {
  const mayRun = useStore((state) => state.session.may_run);
  const version = useStore((state) => state.alertRulesVersion);
  const [loaded, load] = useLoaded("alerts/silences");
  useEffect(() => {
    if (version > 0) load();
  }, [version]);
  const silences = [...(loaded?.silences ?? [])].sort((a, b) => a.until - b.until);
  return html`<section class="card" aria-label="Silences">
    ${loaded === null && html`<p class="quiet">Loading…</p>`}
    ${loaded !== null && silences.length === 0 && html`<p class="nothing">
      Nothing is silenced: everybody is told of everything.${mayRun ? " Silence an alert where it fires, or what is about to be worked on here." : ""}
    </p>`}
    <ul class="entries">
      ${silences.map((silence) => html`<${SilenceRow} key=${silence.id} silence=${silence} mayEnd=${mayRun} />`)}
    </ul>
    ${mayRun && html`<button class="button" onClick=${() => askSilence()}>Silence something…</button>`}
  </section>`;
}
