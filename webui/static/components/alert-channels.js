// Who is told of alerts, for admins: each channel, whether it works, and a message to try it.

import { path, send } from "../lib/api.js";
import { labelsText } from "../lib/alert_text.js";
import { clockTime, plural } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { useLoaded } from "../lib/use_loaded.js";
import { StateBadge } from "./state-badge.js";

function stateOf({ last_problem: problem, last_sent: sent }) {
  if (problem) return ["failed", "does not work"];
  return sent ? ["ok", "works"] : ["unknown", "not used yet"];
}

function Channel({ channel, load }) {
  const [tried, setTried] = useState(null);
  const [isTrying, setTrying] = useState(false);
  const [state, word] = stateOf(channel);
  const severities = channel.severities?.join(", ") || "every severity";

  async function test() {
    setTrying(true);
    setTried(null);
    const answer = await send("POST", path`alerts/channels/${channel.name}/test`);
    setTried(answer.error ?? answer.problem ?? "sent");
    setTrying(false);
    load();
  }

  return html`<li>
    <span class="entry-name">${channel.name} <span class="tag">${channel.kind}</span> <${StateBadge} state=${state} word=${word} /></span>
    <span class="quiet entry-more">
      ${severities}${labelsText(channel.labels) && ` · on ${labelsText(channel.labels)}`} · ${channel.last_sent ? `last sent ${clockTime(channel.last_sent)}` : "nothing sent yet"}${" · "}
      ${plural(channel.waiting, "message")} waiting
    </span>
    <button class="button" disabled=${isTrying} aria-label=${`Send a test message by ${channel.name}`} onClick=${test}>${isTrying ? "Sending…" : "Test"}</button>
    ${(channel.last_problem || tried) &&
    html`<div class="entry-open" role="status">
      ${channel.last_problem && html`<p class="is-bad">${channel.last_problem}</p>`}
      ${tried === "sent" && html`<p class="tone-good">A test message was sent: see whether it arrives.</p>`}
      ${tried !== null && tried !== "sent" && tried !== channel.last_problem && html`<p class="is-bad">The test message was not sent: ${tried}</p>`}
    </div>`}
  </li>`;
}

function None() {
  return html`<div class="nothing">
    <p>Nobody is told yet: alerts are shown here and published over MQTT alone.</p>
    <p>Add a channel to <code>gpumon.toml</code>, as docs/notifications.md has it, and start the master again:</p>
    <pre class="output">[alerts.channels.oncall]
apprise = "mailto://user:password@example.org?to=oncall@example.org"</pre>
  </div>`;
}

export function AlertChannels() {
  const [loaded, load] = useLoaded("alerts/channels");
  return html`<section class="card" aria-label="Channels">
    ${loaded === null && html`<p class="quiet">Loading…</p>`}
    ${loaded?.channels.length === 0 && html`<${None} />`}
    <ul class="entries">
      ${loaded?.channels.map((channel) => html`<${Channel} key=${channel.name} channel=${channel} load=${load} />`)}
    </ul>
  </section>`;
}
