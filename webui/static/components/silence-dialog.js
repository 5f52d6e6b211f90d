// Asks what is to be silenced, for how long and why: an alert's card, worker or rule, or what is said by hand.

import { notify } from "../lib/actions.js";
import { cardText, labelsText, localMoment, readLabels } from "../lib/alert_text.js";
import { send } from "../lib/api.js";
import { serverNow } from "../lib/clock.js";
import { html, useState } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { Modal } from "./modal.js";

const HOUR_S = 3600;
const SPANS = { 1: "1 hour", 8: "8 hours", until: "until" };

/** Return the ways to silence what a dialog was opened for: `[name, words, what the silence covers]`. */
function scopesOf({ alert, rule }) {
  if (rule) return [["rule", `every alert of ${rule}`, { rule }]];
  if (!alert) return [];
  const { rule: name, worker_id: worker, gpu } = alert;
  return [
    ...(gpu === null ? [] : [["card", `${name} on ${cardText(alert)} of ${worker}`, { rule: name, worker_id: worker, gpu }]]),
    ["worker", `${name} on ${worker}`, { rule: name, worker_id: worker }],
    ["all", `every alert on ${worker}`, { worker_id: worker }],
    ["rule", `${name} on every worker`, { rule: name }],
  ];
}

function Scopes({ scopes, scope, choose }) {
  if (scopes.length === 1) return html`<p class="modal-line">${scopes[0][1]}</p>`;
  return html`<fieldset class="choices">
    <legend>What</legend>
    ${scopes.map(
      ([name, words]) => html`<label key=${name}>
        <input type="radio" name="scope" checked=${scope === name} onChange=${() => choose(name)} /><span>${words}</span>
      </label>`,
    )}
  </fieldset>`;
}

function ByHand({ cover, change }) {
  const field = (name, words, placeholder) => html`<label>
    <span>${words}</span>
    <input
      class="field"
      value=${cover[name]}
      placeholder=${placeholder}
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      onInput=${(event) => change({ ...cover, [name]: event.currentTarget.value })}
    />
  </label>`;
  return html`<div class="fields modal-fields">
    ${field("rule", "Rule", "every rule")} ${field("worker", "Worker", "every worker")} ${field("labels", "Labels", "rack=3, site=a")}
  </div>`;
}

function Span({ span, until, choose, setUntil }) {
  return html`<fieldset class="choices choices-line">
    <legend>How long</legend>
    ${Object.entries(SPANS).map(
      ([name, words]) => html`<label key=${name}>
        <input type="radio" name="span" checked=${span === name} onChange=${() => choose(name)} /><span>${words}</span>
      </label>`,
    )}
    <input
      class="field"
      type="datetime-local"
      aria-label="Until when"
      value=${until}
      onInput=${(event) => {
        setUntil(event.currentTarget.value);
        choose("until");
      }}
    />
  </fieldset>`;
}

function SilenceForm({ asked, close }) {
  const session = useStore((state) => state.session);
  const scopes = scopesOf(asked);
  const [scope, setScope] = useState(scopes[0]?.[0]);
  const [cover, setCover] = useState({ rule: "", worker: "", labels: labelsText(session.commands_on) });
  const [span, setSpan] = useState("1");
  const [until, setUntil] = useState(localMoment(serverNow() + 24 * HOUR_S));
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(null);
  const [isSending, setSending] = useState(false);

  function covered() {
    if (scopes.length > 0) return scopes.find(([name]) => name === scope)[2];
    const labels = readLabels(cover.labels);
    return labels && { rule: cover.rule.trim() || null, worker_id: cover.worker.trim() || null, labels };
  }

  async function submit(event) {
    event.preventDefault();
    const what = covered();
    const end = span === "until" ? new Date(until).getTime() / 1000 : serverNow() + Number(span) * HOUR_S;
    if (what === null) return setProblem("Labels are given as rack=3, site=a.");
    if (!Number.isFinite(end)) return setProblem("Say until when.");
    setSending(true);
    const answer = await send("POST", "alerts/silences", { ...what, until: end, reason: reason.trim() });
    setSending(false);
    if (answer.error) return setProblem(answer.error);
    notify(null);
    return close();
  }

  return html`<form onSubmit=${submit}>
    ${scopes.length > 0 ? html`<${Scopes} scopes=${scopes} scope=${scope} choose=${setScope} />` : html`<${ByHand} cover=${cover} change=${setCover} />`}
    <${Span} span=${span} until=${until} choose=${setSpan} setUntil=${setUntil} />
    <label class="modal-field">
      <span>Reason</span>
      <input class="field" value=${reason} maxlength="500" autocomplete="off" placeholder="why, for those who come after" onInput=${(event) => setReason(event.currentTarget.value)} />
    </label>
    <p class="quiet">Nobody is notified meanwhile. What is silenced is still shown here.</p>
    ${problem !== null && html`<p class="is-bad" role="alert">${problem}</p>`}
    <div class="confirm-buttons">
      <button type="button" class="button" onClick=${close}>Leave it</button>
      <button class="button button-primary" disabled=${isSending}>Silence</button>
    </div>
  </form>`;
}

export function SilenceDialog() {
  const asked = useStore((state) => state.silencing);
  if (asked === null) return null;
  const close = () => update({ silencing: null });
  return html`<${Modal} title="Silence" onClose=${close}><${SilenceForm} asked=${asked} close=${close} /><//>`;
}
