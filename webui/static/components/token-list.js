// One's API tokens, and the form that makes another.

import { path } from "../lib/api.js";
import { clockTime } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { SecretOnce } from "./secret-once.js";
import { SureButton } from "./sure-button.js";

const LIFETIMES = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "a year"],
  ["", "no end"],
];

function TokenForm({ change, made }) {
  async function submit(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const { label, days } = Object.fromEntries(new FormData(form));
    const answer = await change("POST", "account/tokens", { label, days: days === "" ? null : Number(days) });
    if (answer === null) return;
    form.reset();
    made(answer.token);
  }

  return html`<form class="fields" onSubmit=${submit}>
    <label><span>What it is for</span><input class="field" name="label" maxlength="64" autocomplete="off" required /></label>
    <label>
      <span>Ends after</span>
      <select class="field" name="days">
        ${LIFETIMES.map(([days, text]) => html`<option key=${text} value=${days} selected=${days === "90"}>${text}</option>`)}
      </select>
    </label>
    <button class="button">Make a token</button>
  </form>`;
}

export function TokenList({ tokens, change }) {
  const [secret, setSecret] = useState(null);
  if (tokens === null) return html`<p class="quiet">Loading…</p>`;
  return html`${tokens.length > 0 &&
    html`<ul class="entries">
      ${tokens.map(
        (token) => html`<li key=${token.id}>
          <span class="entry-name">${token.label}</span>
          <span class="quiet entry-more">
            ${token.expires === null ? "no end" : `until ${clockTime(token.expires)}`} ·${" "}
            ${token.last_used === null ? "not used at the API yet" : `last used ${clockTime(token.last_used)}`} · ${token.id}
          </span>
          <${SureButton}
            text="Revoke"
            sure="Revoke for good"
            label=${`Revoke ${token.label}`}
            onSure=${() => change("DELETE", path`account/tokens/${token.id}`)}
          />
        </li>`,
      )}
    </ul>`}
    ${secret !== null
      ? html`<${SecretOnce} title="This is the token." secret=${secret} close=${() => setSecret(null)} />`
      : html`<${TokenForm} change=${change} made=${setSecret} />`}`;
}
