// A rule in a form: its limits with their units, where and when it holds. The server checks it as it is typed.

import { notify } from "../lib/actions.js";
import { KIND_WORDS } from "../lib/alert_text.js";
import { path, send } from "../lib/api.js";
import { html, useEffect, useState } from "../lib/html.js";
import { fieldNamedIn, fieldsOf, formOf } from "../lib/rule_fields.js";
import { ChoiceField, TextField } from "./form-field.js";
import { RuleCommands } from "./rule-commands.js";

const CHECKED_AFTER_MS = 250;
const SEVERITIES = [
  ["page", "page: wakes somebody"],
  ["warning", "warning: for working hours"],
  ["note", "note: to be known"],
];
const SIDES = { above: "at or above", below: "below" };

/** Return what the server says of a rule as it is typed: `{words, problem}`. */
function useChecked(name, fields) {
  const [checked, setChecked] = useState({});
  const text = JSON.stringify({ name, fields });
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(async () => {
      const answer = await send("POST", "alerts/rules/check", JSON.parse(text));
      if (isCurrent) setChecked(answer);
    }, CHECKED_AFTER_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [text]);
  return checked;
}

function Threshold({ form, facts, set, problemOf, id }) {
  const units = facts.units.map((unit) => [unit, unit]);
  return html`${facts.sides.length > 1 &&
    html`<${ChoiceField} id=${`${id}-side`} label="Fires" value=${form.side} choices=${facts.sides.map((side) => [side, SIDES[side]])} onText=${(side) => set({ side })} />`}
    <${TextField}
      id=${`${id}-threshold`}
      label=${facts.sides.length > 1 ? "Limit" : `Fires ${SIDES[form.side]}`}
      value=${form.threshold}
      inputmode="decimal"
      after=${units.length === 1 ? form.unit : null}
      problem=${problemOf("threshold")}
      onText=${(threshold) => set({ threshold })}
    />
    ${units.length > 1 && html`<${ChoiceField} id=${`${id}-unit`} label="Unit" value=${form.unit} choices=${units} onText=${(unit) => set({ unit })} />`}
    <${TextField}
      id=${`${id}-clear`}
      label=${form.side === "above" ? "Ends below" : "Ends above"}
      value=${form.clear}
      inputmode="decimal"
      placeholder="as the limit"
      after=${form.unit}
      problem=${problemOf("clear")}
      onText=${(clear) => set({ clear })}
    />`;
}

function Reasons({ chosen, all, problem, change }) {
  const flip = (reason) => change(chosen.includes(reason) ? chosen.filter((each) => each !== reason) : [...chosen, reason]);
  return html`<fieldset class="choices choices-wide">
    <legend>Held back by</legend>
    ${all.map(
      (reason) => html`<label key=${reason}>
        <input type="checkbox" checked=${chosen.includes(reason)} onChange=${() => flip(reason)} /><span>${reason.replaceAll("_", " ")}</span>
      </label>`,
    )}
    ${problem && html`<p class="is-bad" role="alert">${problem}</p>`}
  </fieldset>`;
}

function NewRule({ name, setName, kind, kinds, setKind, problem }) {
  return html`<${TextField} id="new-name" label="Name" value=${name} maxlength="63" placeholder="hot-in-rack-3" problem=${problem} onText=${setName} />
    <${ChoiceField} id="new-kind" label="Looks at" value=${kind} choices=${Object.keys(kinds).map((each) => [each, KIND_WORDS[each] ?? each])} onText=${setKind} />`;
}

/** `rule` is null for a new one. `done(isSaved)` is called in the end. */
export function RuleForm({ rule, kinds, reasons, done }) {
  const [name, setName] = useState(rule?.name ?? "");
  const first = rule?.fields?.kind ?? "temperature";
  const [form, setForm] = useState(formOf(first, kinds[first], rule?.fields ?? {}));
  const [refused, setRefused] = useState(null);
  const [isSending, setSending] = useState(false);
  const facts = kinds[form.kind];
  const fields = fieldsOf(form, facts);
  const checked = useChecked(name, fields);
  const isUntouched = rule === null && name === "" && refused === null;
  const sentence = refused ?? (isUntouched ? null : (checked.problem ?? null));
  const at = sentence === null ? null : fieldNamedIn(sentence);
  const problemOf = (field) => (at === field ? sentence : null);
  const id = `rule-${rule?.name ?? "new"}`;

  function set(part) {
    setRefused(null);
    setForm({ ...form, ...part });
  }

  async function submit(event) {
    event.preventDefault();
    setSending(true);
    const answer = await send("PUT", path`alerts/rules/${name.trim() || " "}`, rule === null ? { ...fields, enabled: true } : fields);
    setSending(false);
    if (answer.error) return setRefused(answer.error);
    notify(null);
    return done(true);
  }

  const text = (field, label, rest) =>
    html`<${TextField} id=${`${id}-${field}`} label=${label} value=${form[field]} problem=${problemOf(field)} onText=${(value) => set({ [field]: value })} ...${rest} />`;
  return html`<form class="rule-form" aria-label=${rule === null ? "A new rule" : `Change ${rule.name}`} onSubmit=${submit}>
    <div class="form-fields">
      ${rule === null &&
      html`<${NewRule} name=${name} setName=${(text) => { setRefused(null); setName(text); }} kind=${form.kind} kinds=${kinds} problem=${problemOf("name")} setKind=${(kind) => setForm({ ...formOf(kind, kinds[kind]), severity: form.severity, labels: form.labels })} />`}
      <${ChoiceField} id=${`${id}-severity`} label="Severity" value=${form.severity} choices=${SEVERITIES} onText=${(severity) => set({ severity })} />
      ${facts.sides.length > 0 && html`<${Threshold} id=${id} form=${form} facts=${facts} set=${set} problemOf=${problemOf} />`}
      ${!facts.is_event && text("for_s", "Holds for", { placeholder: "2 min", help: "before it fires: 90 s, 15 min, 2 h" })}
      ${facts.lists === "xids" && text("xids", "XIDs", { placeholder: "48, 79" })}
      ${text("labels", "On workers with", { placeholder: "every worker, or rack=3, site=a" })}
      ${text("quiet_hours", "Quiet hours", { placeholder: "none, or 22:00-07:00", help: "it fires, but nobody is told before they end; the master's time zone" })}
    </div>
    ${facts.lists === "reasons" && html`<${Reasons} chosen=${form.reasons} all=${reasons} problem=${problemOf("reasons")} change=${(chosen) => set({ reasons: chosen })} />`}
    <${RuleCommands} commands=${form.commands} problem=${problemOf("commands")} aboutCard=${facts.about_card} change=${(commands) => set({ commands })} />
    ${rule !== null && at === "name" && html`<p class="is-bad" role="alert">${sentence}</p>`}
    <p class="rule-words" role="status">${checked.words && sentence === null ? html`<span class="quiet">It fires at:</span> ${checked.words}` : ""}</p>
    <div class="entry-tools">
      <button class="button button-primary" disabled=${isSending}>Save</button>
      <button type="button" class="button" onClick=${() => done(false)}>Leave it</button>
    </div>
  </form>`;
}
