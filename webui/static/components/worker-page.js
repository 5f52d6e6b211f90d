// One worker: what it is, how it is, its cards, processes, events and commands.

import { watchWorker } from "../lib/fleet_live.js";
import { RANGES } from "../lib/history.js";
import { html, useEffect } from "../lib/html.js";
import { mayCommand } from "../lib/permissions.js";
import { update, useStore } from "../lib/store.js";
import { CommandList } from "./command-list.js";
import { CopyLine } from "./copy-line.js";
import { Dock } from "./dock.js";
import { EventList } from "./event-list.js";
import { GpuCard } from "./gpu-card.js";
import { HostPanel } from "./host-panel.js";
import { Inventory } from "./inventory.js";
import { ProcessTable } from "./process-table.js";
import { RunField } from "./run-field.js";
import { AlertsAbout, PastAlerts, usePastAlerts } from "./worker-alerts.js";
import { WorkerHead } from "./worker-head.js";

function RangeSwitch({ range }) {
  return html`<div class="switch" role="group" aria-label="Range of the plots">
    ${Object.entries(RANGES).map(
      ([name, [text]]) =>
        html`<button key=${name} class="switch-part" aria-pressed=${range === name} onClick=${() => update({ range: name })}>${text}</button>`,
    )}
  </div>`;
}

function setDetails(isOpen) {
  update({ areDetailsOpen: isOpen });
}

function Body({ worker, mayRun }) {
  const { row, info, metrics, events, commands, topics, alerts: firing = [] } = worker;
  const range = useStore((state) => state.range);
  const isOpen = useStore((state) => state.areDetailsOpen);
  const gpus = metrics?.gpus ?? [];
  const alerts = { firing, past: usePastAlerts(row.id, firing) };
  const inventory = new Map((info?.gpus ?? []).map((gpu) => [gpu.uuid, gpu]));
  return html`<${WorkerHead} row=${row} info=${info} />
    <${AlertsAbout} gpu=${null} firing=${firing} />
    <${PastAlerts} worker=${row.id} gpu=${null} past=${alerts.past} />
    ${mayRun &&
    html`<section class="card" aria-labelledby="run-title">
      <h2 id="run-title">Run a command</h2>
      <${RunField} workerId=${row.id} />
      ${info?.commands === "none" && html`<p class="quiet">This worker takes no commands.</p>`}
      ${info?.commands === "listed" && html`<p class="quiet">This worker runs the commands on its own list alone.</p>`}
    </section>`}
    <section aria-labelledby="gpus-title">
      <div class="section-head">
        <h2 id="gpus-title">GPUs <span class="count">${gpus.length || inventory.size}</span></h2>
        <${RangeSwitch} range=${range} />
      </div>
      <div class="gpu-cards">
        ${gpus.map((gpu) => {
          const shared = { alerts, range, isOpen, onToggle: setDetails, worker: row.id };
          return html`<${GpuCard} key=${gpu.uuid} ...${shared} gpu=${gpu} inventory=${inventory.get(gpu.uuid)} />`;
        })}
      </div>
      ${gpus.length === 0 && html`<p class="quiet">No sample has arrived yet.</p>`}
    </section>
    <section class="card" aria-labelledby="processes-title">
      <h2 id="processes-title">Processes</h2>
      <${ProcessTable} gpus=${gpus} />
    </section>
    <div class="columns">
      <section class="card" aria-labelledby="host-title">
        <h2 id="host-title">Host</h2>
        <${HostPanel} worker=${row.id} host=${metrics?.host ?? null} range=${range} />
      </section>
      <section class="card" aria-labelledby="inventory-title">
        <h2 id="inventory-title">Inventory</h2>
        <${Inventory} info=${info} />
      </section>
      <section class="card" aria-labelledby="events-title">
        <h2 id="events-title">Events</h2>
        <${EventList} events=${events} gpus=${gpus} />
      </section>
      <section class="card" aria-labelledby="commands-title">
        <h2 id="commands-title">Commands</h2>
        <${CommandList} commands=${commands} />
      </section>
    </div>
    <section class="card" aria-labelledby="topics-title">
      <h2 id="topics-title">MQTT topics</h2>
      ${Object.entries(topics).map(([name, topic]) => html`<${CopyLine} key=${name} label=${name} text=${topic} />`)}
    </section>`;
}

export function WorkerPage({ id }) {
  useEffect(() => watchWorker(id), [id]);
  const worker = useStore((state) => state.worker);
  const session = useStore((state) => state.session);
  const isLoaded = worker !== null && worker.id === id && worker.loaded;
  return html`<main class="page">
    <h1 class="visually-hidden" tabindex="-1">Worker ${id}</h1>
    ${!isLoaded && html`<p class="quiet">Loading…</p>`}
    ${isLoaded && worker.error && html`<section class="card empty"><h2>No worker ${id}</h2><p>None of that name is known. <a href="/">All workers</a></p></section>`}
    ${isLoaded && !worker.error && html`<${Body} worker=${worker} mayRun=${mayCommand(session, worker.row.labels)} />`}
    <${Dock} />
  </main>`;
}
