// A command with all its targets: how far it is, what each writes, and the buttons that end it.

import { cancel } from "../lib/actions.js";
import { isUnfinished, watchCommand } from "../lib/commands.js";
import { clockTime, duration, plural } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { TargetOutput } from "./target-output.js";

const MOST_LISTED = 200;
const GROUPS = {
  all: () => true,
  running: isUnfinished,
  failed: (target) => !isUnfinished(target) && !succeeded(target),
  done: (target) => succeeded(target),
};

function succeeded(target) {
  return target.state === "finished" && target.exit_code === 0;
}

function Progress({ targets, group, setGroup }) {
  const counts = Object.entries(GROUPS).map(([name, belongs]) => [name, targets.filter(belongs).length]);
  return html`<div class="chips" role="group" aria-label="Show targets">
    ${counts.map(
      ([name, count]) =>
        html`<button class="chip chip-${name}" key=${name} aria-pressed=${group === name} onClick=${() => setGroup(name)}>
          ${name} <b>${count}</b>
        </button>`,
    )}
  </div>`;
}

export function CommandView({ id, isOpen = true }) {
  useEffect(() => watchCommand(id), [id]);
  const command = useStore((state) => state.commands.get(id));
  const mayRun = useStore((state) => state.session.may_run);
  const [group, setGroup] = useState("all");
  if (command === undefined || !command.loaded) return html`<p class="quiet">Loading…</p>`;
  if (command.error) return html`<p class="nothing">There is no command ${id}.</p>`;

  const { record, open, outputs } = command;
  const targets = [...command.targets.values()];
  const listed = targets.filter(GROUPS[group]);
  const unfinished = targets.filter(isUnfinished).length;
  return html`<div class="command" data-command=${id}>
    <header class="command-head">
      <code class="command-text">${record.command}</code>
      <p class="quiet">
        ${record.by ?? "unknown author"} · ${record.origin} · ${clockTime(record.created)} · timeout ${duration(record.timeout_s)} ·
        ${" "}${plural(targets.length, "worker")}
      </p>
      <div class="command-tools">
        <${Progress} targets=${targets} group=${group} setGroup=${setGroup} />
        <a class="button button-quiet" download href=${`/api/v1/commands/${encodeURIComponent(id)}/output.txt`}>Download</a>
        ${mayRun &&
        unfinished > 0 &&
        html`<button class="button button-danger" onClick=${() => cancel(id)}>Cancel ${unfinished > 1 ? `all ${unfinished}` : ""}</button>`}
      </div>
    </header>
    ${isOpen &&
    html`<ul class="targets">
      ${listed
        .slice(0, MOST_LISTED)
        .map(
          (target) =>
            html`<${TargetOutput}
              key=${target.worker_id}
              commandId=${id}
              target=${target}
              isOpen=${open.has(target.worker_id)}
              output=${outputs.get(target.worker_id)}
              mayRun=${mayRun}
            />`,
        )}
    </ul>`}
    ${isOpen && listed.length > MOST_LISTED && html`<p class="quiet">${listed.length - MOST_LISTED} more: download shows them all.</p>`}
  </div>`;
}
