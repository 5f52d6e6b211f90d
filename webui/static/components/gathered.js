// What the workers answered, each distinct answer once, the most common first; others with what differs.

import { plural } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { StateBadge } from "./state-badge.js";

const MOST_NAMED = 12;
const AGAIN_AFTER_MS = 1_500;

function names(workers) {
  const more = workers.length - MOST_NAMED;
  return workers.slice(0, MOST_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function summary({ groups, more_groups: more, unfinished }) {
  const waiting = unfinished > 0 ? `; ${unfinished} still running` : "";
  if (groups.length === 0) return `Nothing to compare yet${waiting}.`;
  const [largest, ...others] = groups;
  const differ = others.reduce((sum, group) => sum + group.workers.length, 0);
  const same = `${plural(largest.workers.length, "worker")}: same output`;
  if (differ === 0 && more === 0) return `${same}${waiting}.`;
  return largest.workers.length > 1 ? `${same}; ${more > 0 ? "more than " : ""}${differ} differ${waiting}.` : `Every output differs${waiting}.`;
}

function diffLine(line, at) {
  const kind = line.startsWith("@@") || line.startsWith("---") || line.startsWith("+++") ? "place" : line[0] === "+" ? "added" : line[0] === "-" ? "removed" : "same";
  return html`<span key=${at} class="diff-${kind}">${line}${"\n"}</span>`;
}

function Group({ group, isLargest }) {
  const [view, setView] = useState(isLargest || !group.diff ? "output" : "diff");
  const failed = group.state !== "finished" || group.exit_code !== 0;
  const word = group.state === "finished" ? `exit ${group.exit_code}` : group.state;
  return html`<li class="group" data-workers=${group.workers.length}>
    <div class="target-head">
      <strong>${plural(group.workers.length, "worker")}</strong>
      <${StateBadge} state=${failed && group.state === "finished" ? "failed" : group.state} word=${word} />
      <span class="group-names quiet" title=${group.workers.join("\n")}>${names(group.workers)}</span>
      ${group.diff &&
      html`<button class="button button-quiet" aria-pressed=${view === "diff"} onClick=${() => setView(view === "diff" ? "output" : "diff")}>
        ${view === "diff" ? "Show output" : "Show differences"}
      </button>`}
    </div>
    ${group.problem && html`<p class="quiet output-none">${group.problem}</p>`}
    ${view === "diff" && group.diff
      ? html`<pre class="output" tabindex="0" aria-label="Differences">${group.diff.split("\n").map(diffLine)}</pre>`
      : group.output
        ? html`<pre class="output" tabindex="0" aria-label="Output">${group.is_cut && html`<span class="output-note">[earlier output is in the download]${"\n"}</span>`}${group.plain}</pre>`
        : html`<p class="quiet output-none">No output.</p>`}
  </li>`;
}

/** Fetch the gathered answers of a command, again while targets end; `ended` is how many have. */
function useGathered(id, ended) {
  const [answer, setAnswer] = useState(null);
  useEffect(() => {
    let isOver = false;
    async function read() {
      try {
        const response = await fetch(`/api/v1/commands/${encodeURIComponent(id)}/gathered`, { cache: "no-store" });
        const body = await response.json();
        if (!isOver) setAnswer(body);
      } catch {
        if (!isOver) setAnswer({ error: "The answers could not be fetched." });
      }
    }
    const timer = setTimeout(read, answer === null ? 0 : AGAIN_AFTER_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [id, ended]);
  return answer;
}

export function Gathered({ id, ended, plain }) {
  const answer = useGathered(id, ended);
  if (answer === null) return html`<p class="quiet">Comparing…</p>`;
  if (answer.error) return html`<p class="quiet">${answer.error}</p>`;
  return html`<div class="gathered">
    <p class="gathered-told" role="status">${summary(answer)}</p>
    <ul class="targets">
      ${answer.groups.map(
        (group, at) => html`<${Group} key=${group.workers[0]} isLargest=${at === 0} group=${{ ...group, plain: plain(group.output), diff: group.diff && plain(group.diff) }} />`,
      )}
    </ul>
    ${answer.more_groups > 0 && html`<p class="quiet">${answer.more_groups} more answers: download shows them all.</p>`}
  </div>`;
}
