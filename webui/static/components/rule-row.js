// One rule in the list: what it looks for in words, whether it is on, and what an admin can do about it.

import { notify } from "../lib/actions.js";
import { path, send } from "../lib/api.js";
import { clockTime } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { RuleForm } from "./rule-form.js";
import { SeverityBadge } from "./severity-badge.js";
import { SureButton } from "./sure-button.js";

const ORIGINS = { "built in": "built in", settings: "from gpumon.toml", page: "made here" };

function originOf({ origin, changed, changed_by: by }) {
  if (changed === null) return ORIGINS[origin];
  return `${origin === "page" ? "set here" : ORIGINS[origin]} by ${by}, ${clockTime(changed)}`;
}

export function RuleRow({ rule, kinds, reasons, mayChange, load }) {
  const [isOpen, setOpen] = useState(false);
  const { fields } = rule;
  const isOn = fields?.enabled === true;

  async function change(method, body) {
    const answer = await send(method, path`alerts/rules/${rule.name}`, body);
    notify(answer.error ?? null);
    await load();
  }

  return html`<li id=${rule.name} class="rule ${isOn ? "" : "is-off"}">
    <span class="entry-name">
      ${rule.name}${" "} ${fields && html`<${SeverityBadge} severity=${fields.severity} />`} ${fields && !isOn && html`<span class="tag">off</span>`}
    </span>
    <span class="entry-more">
      <span class="rule-words">${rule.words}</span>
      <span class="quiet"> · ${originOf(rule)}</span>
      ${rule.problem && html`<span class="is-bad rule-problem">${rule.problem}</span>`}
    </span>
    ${mayChange &&
    html`<span class="entry-buttons">
      ${fields &&
      html`<button class="button button-quiet" role="switch" aria-checked=${isOn} aria-label=${`Rule ${rule.name}`} onClick=${() => change("PUT", { enabled: !isOn })}>
          ${isOn ? "Turn off" : "Turn on"}
        </button>
        <button class="button button-quiet" aria-expanded=${isOpen} aria-label=${`Change rule ${rule.name}`} onClick=${() => setOpen(!isOpen)}>${isOpen ? "Close" : "Change"}</button>`}
      ${rule.can_be_reset &&
      html`<${SureButton} text="Reset" sure="Back to how it was" label=${`Take back the changes of rule ${rule.name}`} onSure=${() => change("DELETE")} />`}
    </span>`}
    ${isOpen &&
    fields &&
    html`<div class="entry-open">
      <${RuleForm}
        rule=${rule}
        kinds=${kinds}
        reasons=${reasons}
        done=${(isSaved) => {
          setOpen(false);
          if (isSaved) load();
        }}
      />
    </div>`}
  </li>`;
}
