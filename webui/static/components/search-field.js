// The search of a view; the key `/` leads to it.

import { html } from "../lib/html.js";

export function SearchField({ label, placeholder, title, value, onSearch }) {
  return html`<label class="search">
    <span class="visually-hidden">${label}</span>
    <input
      id="search"
      class="field"
      type="search"
      placeholder=${placeholder}
      title=${title}
      autocomplete="off"
      spellcheck=${false}
      value=${value}
      onInput=${(event) => onSearch(event.currentTarget.value)}
    />
  </label>`;
}
