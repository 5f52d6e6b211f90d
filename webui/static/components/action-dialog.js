// Asks before a command that an alert offers is run: the very command, and on which worker.

import { act } from "../lib/alert_actions.js";
import { path, send } from "../lib/api.js";
import { html, useEffect, useState } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { AlertWhere } from "./alert-where.js";
import { Modal } from "./modal.js";

/** Return the commands an alert offers at this moment (null before they are known), a problem, and what asks again. */
function useActions(alert) {
  const [found, setFound] = useState({ actions: null, problem: null });
  async function load(problem = null) {
    const answer = await send("GET", path`alerts/${alert.id}/actions`);
    setFound(answer.error ? { actions: [], problem: answer.error } : { actions: answer.actions, problem });
  }
  useEffect(() => {
    load();
  }, [alert.id]);
  return [found, load];
}

function Choices({ actions, chosen, choose }) {
  if (actions.length === 1) return html`<p class="modal-line"><strong>${actions[0].name}</strong></p>`;
  return html`<fieldset class="choices">
    <legend>What</legend>
    ${actions.map(
      ({ name }) => html`<label key=${name}>
        <input type="radio" name="action" checked=${chosen === name} onChange=${() => choose(name)} /><span>${name}</span>
      </label>`,
    )}
  </fieldset>`;
}

function Asked({ alert, close }) {
  const [{ actions, problem }, load] = useActions(alert);
  const [name, setName] = useState(null);
  const [isSending, setSending] = useState(false);
  const action = actions?.find((each) => each.name === name) ?? actions?.find(({ command }) => command !== null) ?? actions?.[0];

  async function run() {
    setSending(true);
    const refused = await act(alert, action);
    setSending(false);
    if (refused === null) close();
    else await load(refused);
  }

  return html`<p class="modal-line">${alert.text}<br /><span class="quiet"><${AlertWhere} alert=${alert} /></span></p>
    ${actions === null && html`<p class="quiet">Looking at what runs there now…</p>`}
    ${actions?.length === 0 && problem === null && html`<p>Its rule offers nothing that can be run now: what it was about may have ended.</p>`}
    ${action &&
    html`<${Choices} actions=${actions} chosen=${action.name} choose=${setName} />
      ${action.command === null
        ? html`<p>This cannot be run now: ${action.problem}.</p>`
        : html`<p>This runs on <strong>${action.worker_id}</strong>:</p>
            <pre class="output">${action.command}</pre>`}`}
    ${problem !== null && html`<p class="is-bad" role="alert">${problem}</p>`}
    <div class="confirm-buttons">
      <button class="button" autofocus onClick=${close}>Leave it</button>
      ${action?.command && html`<button class="button button-primary" disabled=${isSending} onClick=${run}>Run on ${action.worker_id}</button>`}
    </div>`;
}

export function ActionDialog() {
  const alert = useStore((state) => state.acting);
  if (alert === null) return null;
  const close = () => update({ acting: null });
  return html`<${Modal} title="Act on this alert" onClose=${close}><${Asked} alert=${alert} close=${close} /><//>`;
}
