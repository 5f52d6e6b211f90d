// Commands in a list: what, who, when, and how it went.

import { clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";
import { commandPath } from "../lib/router.js";
import { StateBadge } from "./state-badge.js";

function Outcome({ command }) {
  if (command.target) {
    const { state, exit_code: code } = command.target;
    const failed = state === "finished" && code !== 0;
    return html`<${StateBadge} state=${failed ? "failed" : state} word=${state === "finished" ? `exit ${code}` : state} />`;
  }
  const { finished = 0, ...others } = command.counts;
  const parts = [
    ["finished", finished - command.nonzero, "exit 0"],
    ["failed", command.nonzero, "exit not 0"],
    ...Object.entries(others).map(([state, count]) => [state, count, state]),
  ];
  return parts
    .filter(([, count]) => count > 0)
    .map(([state, count, word]) => html`<${StateBadge} key=${word} state=${state} word=${`${count} ${word}`} />`);
}

export function CommandList({ commands }) {
  if (commands.length === 0) return html`<p class="quiet">No command has been run yet.</p>`;
  return html`<ul class="command-list">
    ${commands.map(
      (command) => html`<li key=${command.id}>
        <a class="command-line" href=${commandPath(command.id)}><code>${command.command}</code></a>
        <span class="command-outcome"><${Outcome} command=${command} /></span>
        <span class="quiet">${command.by ?? "unknown author"} · ${command.origin} · ${clockTime(command.created)}</span>
      </li>`,
    )}
  </ul>`;
}
