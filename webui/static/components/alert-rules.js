// By which rules alerts fire: for everybody to read, for admins to change.

import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { useLoaded } from "../lib/use_loaded.js";
import { RuleForm } from "./rule-form.js";
import { RuleRow } from "./rule-row.js";

export function AlertRules() {
  const mayChange = useStore((state) => state.session.role === "admin");
  const version = useStore((state) => state.alertRulesVersion);
  const [loaded, load] = useLoaded("alerts/rules");
  const [isAdding, setAdding] = useState(false);
  useEffect(() => {
    if (version > 0) load();
  }, [version]);
  const shared = { kinds: loaded?.kinds, reasons: loaded?.reasons };

  return html`<section class="card" aria-label="Rules">
    ${loaded === null && html`<p class="quiet">Loading…</p>`}
    <ul class="entries">
      ${loaded?.rules.map((rule) => html`<${RuleRow} key=${rule.name} rule=${rule} ...${shared} mayChange=${mayChange} load=${load} />`)}
    </ul>
    ${mayChange && loaded !== null && !isAdding && html`<button class="button" onClick=${() => setAdding(true)}>Add a rule…</button>`}
    ${isAdding &&
    html`<h2 class="rule-new-title">A new rule</h2>
      <${RuleForm}
        rule=${null}
        ...${shared}
        done=${(isSaved) => {
          setAdding(false);
          if (isSaved) load();
        }}
      />`}
  </section>`;
}
