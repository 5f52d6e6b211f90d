// The command panel for many workers at once: who is selected, and what to run on them.

import { draft, run, select } from "../lib/actions.js";
import { plural } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { useStore } from "../lib/store.js";

const DRAFT = "selected workers"; // no worker's id has a space
const MOST_NAMED = 6;

function names(ids) {
  const more = ids.length - MOST_NAMED;
  return ids.slice(0, MOST_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

export function SelectionBar({ shown, rows }) {
  const selected = useStore((state) => state.selected);
  const text = useStore((state) => state.drafts.get(DRAFT) ?? "");
  const [timeout, setTimeout] = useState("60");
  const [sending, setSending] = useState(false);
  const session = useStore((state) => state.session);
  const ids = [...selected];
  const own = (some) => [...some].filter((id) => mayCommand(session, rows.get(id).labels));
  const isReady = ids.length > 0 && text.trim() !== "" && Number(timeout) > 0 && !sending;

  async function submit(event) {
    event.preventDefault();
    if (!isReady) return;
    setSending(true);
    if (await run(text, ids, Number(timeout))) draft(DRAFT, "");
    setSending(false);
  }

  return html`<section class="selection ${ids.length === 0 ? "selection-none" : ""}" aria-label="Run on selected workers">
    <div class="selection-who">
      <strong>${ids.length === 0 ? "No worker selected" : `${plural(ids.length, "worker")} selected`}</strong>
      <span class="selection-names quiet">${names(ids)}</span>
      <span class="selection-links">
        <button class="link" onClick=${() => select(own(rows.keys()))}>all</button>
        ${shown.length < rows.size && html`<button class="link" onClick=${() => select(own(shown))}>shown (${own(shown).length})</button>`}
        <button class="link" disabled=${ids.length === 0} onClick=${() => select([])}>none</button>
      </span>
    </div>
    <form class="selection-form" onSubmit=${submit}>
      <input
        class="field command-input"
        aria-label="Command for all selected workers"
        placeholder=${ids.length === 0 ? "Select workers to run a command on them" : "Command to run on each, with /bin/sh"}
        autocomplete="off"
        autocapitalize="off"
        spellcheck=${false}
        value=${text}
        onInput=${(event) => draft(DRAFT, event.currentTarget.value)}
      />
      <label class="timeout">
        <span>Timeout</span>
        <input
          class="field"
          type="number"
          min="1"
          max="604800"
          value=${timeout}
          onInput=${(event) => setTimeout(event.currentTarget.value)}
          aria-label="Timeout in seconds"
        />
        <span>s</span>
      </label>
      <button class="button button-primary" disabled=${!isReady}>Run on ${ids.length}</button>
    </form>
  </section>`;
}
