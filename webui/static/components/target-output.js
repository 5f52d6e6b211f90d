// One worker's part of a command: its state, exit code and output, which is followed while it grows.

import { cancel } from "../lib/actions.js";
import { isUnfinished, openTarget } from "../lib/commands.js";
import { duration } from "../lib/format.js";
import { html, useLayoutEffect, useRef } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { StateBadge } from "./state-badge.js";

const NEAR_END_PX = 24;

function Piece({ stream, text }) {
  return html`<span class="output-${stream}">${text}</span>`;
}

function Screen({ screen, label }) {
  const box = useRef(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    if (follows.current) box.current.scrollTop = box.current.scrollHeight;
  }, [screen]);

  function scrolled(event) {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  return html`<pre class="output" ref=${box} onScroll=${scrolled} tabindex="0" aria-label=${label}>${screen.cut &&
    html`<span class="output-note">[earlier output is in the download]${"\n"}</span>`}${screen.pieces.map(
      ({ key, stream, text }) => html`<${Piece} key=${key} stream=${stream} text=${text} />`,
    )}</pre>`;
}

function ending(target) {
  if (target.state === "finished") return target.exit_code === 0 ? "exit 0" : `exit ${target.exit_code ?? "unknown"}`;
  return target.problem ?? "";
}

export function TargetOutput({ commandId, target, isOpen, output, mayRun }) {
  const failed = target.state === "finished" && target.exit_code !== 0;
  const hasOutput = output !== undefined && output.screen.pieces.length > 0;
  return html`<li class="target" data-worker=${target.worker_id} data-state=${target.state}>
    <div class="target-head">
      <button
        class="disclosure"
        aria-expanded=${isOpen}
        aria-label=${`Output of ${target.worker_id}`}
        onClick=${() => openTarget(commandId, target.worker_id, !isOpen)}
      >
        <span class="disclosure-arrow" aria-hidden="true"></span>
      </button>
      <a class="worker-name" href=${workerPath(target.worker_id)}>${target.worker_id}</a>
      <${StateBadge} state=${failed ? "failed" : target.state} word=${target.state} />
      <span class="exit ${failed ? "is-bad" : ""}">${ending(target)}</span>
      <span class="quiet target-duration">${target.duration_s === null ? "" : duration(target.duration_s)}</span>
      ${mayRun &&
      isUnfinished(target) &&
      html`<button class="button button-quiet" onClick=${() => cancel(commandId, [target.worker_id])} aria-label=${`Cancel on ${target.worker_id}`}>
        Cancel
      </button>`}
    </div>
    ${isOpen && hasOutput && html`<${Screen} screen=${output.screen} label=${`Output of ${target.worker_id}`} />`}
    ${isOpen &&
    !hasOutput &&
    html`<p class="quiet output-none">${output?.phase !== "ready" ? "Reading…" : isUnfinished(target) ? "No output yet." : "No output."}</p>`}
    ${isOpen && target.truncated && html`<p class="quiet output-none">Cut: the worker stopped publishing output at its limit.</p>`}
  </li>`;
}
