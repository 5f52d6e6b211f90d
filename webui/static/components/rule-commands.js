// The commands that a rule's alerts offer: a name and a line each.

import { html } from "../lib/html.js";

const EMPTY = { name: "", command: "" };

export function RuleCommands({ commands, problem, aboutCard, change }) {
  const set = (at, part) => change(commands.map((each, place) => (place === at ? { ...each, ...part } : each)));
  const placeholders = aboutCard ? ["{worker}", "{gpu}", "{index}", "{users}", "{pids}"] : ["{worker}", "{users}", "{pids}"];
  return html`<fieldset class="rule-commands">
    <legend>Commands that it offers</legend>
    ${commands.map(
      ({ name, command }, at) => html`<div class="rule-command" key=${at}>
        <input class="field" aria-label=${`Name of command ${at + 1}`} placeholder="End the processes" maxlength="100" value=${name} onInput=${(event) => set(at, { name: event.currentTarget.value })} />
        <input
          class="field command-input"
          aria-label=${`Command ${at + 1}`}
          placeholder="kill {pids}"
          maxlength="4096"
          spellcheck=${false}
          autocapitalize="off"
          value=${command}
          onInput=${(event) => set(at, { command: event.currentTarget.value })}
        />
        <button type="button" class="button button-quiet" aria-label=${`Take away command ${at + 1}`} onClick=${() => change(commands.filter((_, place) => place !== at))}>Remove</button>
      </div>`,
    )}
    ${problem && html`<p class="is-bad" role="alert">${problem}</p>`}
    <p class="quiet">
      <button type="button" class="button" onClick=${() => change([...commands, EMPTY])}>Add a command</button>${" "}
      ${placeholders.map((name) => html`<code key=${name}>${name}</code> `)} are filled in when an operator runs it.
    </p>
  </fieldset>`;
}
