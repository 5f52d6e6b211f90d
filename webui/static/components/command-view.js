// A command with all its targets: how far it is, what each writes, and the buttons that end it.

import { cancel, run } from "../lib/actions.js";
import { isUnfinished, watchCommand } from "../lib/commands.js";
import { clockTime, duration, plural } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { plainText } from "../lib/terminal.js";
import { Gathered } from "./gathered.js";
import { ProgressBar } from "./progress-bar.js";
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

function Progress({ counts, group, setGroup }) {
  return html`<div class="chips" role="group" aria-label="Show targets">
    ${Object.entries(counts).map(
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
  const [view, setView] = useState("each");
  if (command === undefined || !command.loaded) return html`<p class="quiet">Loading…</p>`;
  if (command.error) return html`<p class="nothing">There is no command ${id}.</p>`;

  const { record, open, outputs } = command;
  const targets = [...command.targets.values()];
  const listed = targets.filter(GROUPS[group]);
  const counts = Object.fromEntries(Object.entries(GROUPS).map(([name, belongs]) => [name, targets.filter(belongs).length]));
  const failed = targets.filter(GROUPS.failed).map((target) => target.worker_id);
  const isGathered = view === "gathered" && targets.length > 1;
  return html`<div class="command" data-command=${id}>
    <header class="command-head">
      <code class="command-text">${record.command}</code>
      <p class="quiet">
        ${record.by ?? "unknown author"} · ${record.origin} · ${clockTime(record.created)} · timeout ${duration(record.timeout_s)} ·
        ${" "}${plural(targets.length, "worker")}
      </p>
      <${ProgressBar} done=${counts.done} failed=${counts.failed} running=${counts.running} />
      <div class="command-tools">
        <${Progress} counts=${counts} group=${group} setGroup=${setGroup} />
        ${targets.length > 1 &&
        html`<div class="switch" role="group" aria-label="Outputs">
          <button class="switch-part" aria-pressed=${!isGathered} onClick=${() => setView("each")}>Each</button>
          <button class="switch-part" aria-pressed=${isGathered} onClick=${() => setView("gathered")}>Gathered</button>
        </div>`}
        <a class="button button-quiet" download href=${`/api/v1/commands/${encodeURIComponent(id)}/output.txt`}>Download</a>
        ${mayRun &&
        failed.length > 0 &&
        html`<button class="button" onClick=${() => run(record.command, failed, record.timeout_s)}>Run again on ${failed.length} failed</button>`}
        ${mayRun &&
        counts.running > 0 &&
        html`<button class="button button-danger" onClick=${() => cancel(id)}>Cancel ${counts.running > 1 ? `all ${counts.running}` : ""}</button>`}
      </div>
    </header>
    ${isOpen && isGathered && html`<${Gathered} id=${id} ended=${targets.length - counts.running} plain=${plainText} />`}
    ${isOpen &&
    !isGathered &&
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
    ${isOpen && !isGathered && listed.length > MOST_LISTED && html`<p class="quiet">${listed.length - MOST_LISTED} more: download shows them all.</p>`}
  </div>`;
}
