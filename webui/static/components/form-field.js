// A field of a form with its name, what follows it (a unit), help, and what the server says of it.

import { html } from "../lib/html.js";

export function FormField({ id, label, problem, help, after, children }) {
  const told = problem ? `${id}-problem` : help ? `${id}-help` : undefined;
  return html`<div class="form-field ${problem ? "has-problem" : ""}">
    <label for=${id}>${label}</label>
    <span class="form-input">${children({ id, "aria-describedby": told, "aria-invalid": problem ? "true" : undefined })}${after && html`<span class="quiet">${after}</span>`}</span>
    ${problem ? html`<p id="${id}-problem" class="is-bad">${problem}</p>` : help && html`<p id="${id}-help" class="quiet">${help}</p>`}
  </div>`;
}

/** A field of one line of text. */
export function TextField({ value, onText, placeholder, type = "text", maxlength = 200, inputmode, ...rest }) {
  return html`<${FormField} ...${rest}>
    ${(named) => html`<input
      class="field"
      type=${type}
      value=${value}
      placeholder=${placeholder}
      maxlength=${maxlength}
      inputmode=${inputmode}
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      ...${named}
      onInput=${(event) => onText(event.currentTarget.value)}
    />`}
  <//>`;
}

/** A choice out of a few: `choices` are `[value, words]`. */
export function ChoiceField({ value, onText, choices, ...rest }) {
  return html`<${FormField} ...${rest}>
    ${(named) => html`<select class="field" value=${value} ...${named} onChange=${(event) => onText(event.currentTarget.value)}>
      ${choices.map(([name, words]) => html`<option key=${name} value=${name} selected=${name === value}>${words}</option>`)}
    </select>`}
  <//>`;
}
