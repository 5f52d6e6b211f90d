// The keys, and light or dark.

import { html, useEffect, useRef, useState } from "../lib/html.js";
import { KEYS } from "../lib/keys.js";
import { update, useStore } from "../lib/store.js";
import { setTheme, theme, THEMES } from "../lib/theme.js";

function ThemeChoice() {
  const [chosen, setChosen] = useState(theme());
  function choose(name) {
    setTheme(name);
    setChosen(name);
  }
  return html`<fieldset class="themes">
    <legend>Light or dark</legend>
    ${Object.entries(THEMES).map(
      ([name, text]) => html`<label key=${name}>
        <input type="radio" name="theme" checked=${chosen === name} onChange=${() => choose(name)} />${text}
      </label>`,
    )}
  </fieldset>`;
}

export function HelpDialog() {
  const isOpen = useStore((state) => state.isHelpOpen);
  const dialog = useRef(null);
  useEffect(() => {
    if (isOpen && !dialog.current.open) dialog.current.showModal();
    if (!isOpen && dialog.current.open) dialog.current.close();
  }, [isOpen]);
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" onClose=${() => update({ isHelpOpen: false })}>
    <form method="dialog">
      <div class="help-head">
        <h2 id="help-title">Keys and looks</h2>
        <button class="button button-quiet">Close</button>
      </div>
      <dl class="keys">
        ${KEYS.map(([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}
      </dl>
      ${isOpen && html`<${ThemeChoice} />`}
    </form>
  </dialog>`;
}
