// Keeps the store's fleet and worker up to date from what the server pushes.

import { learnTime } from "./clock.js";
import { forgetSamples, keepSample } from "./history.js";
import { socket, watch } from "./live.js";
import { state, update } from "./store.js";

const MOST_EVENTS = 200;
const MOST_COMMANDS = 50;

export function watchFleet() {
  return watch("fleet", (snapshot) => {
    const rows = new Map(snapshot.rows.map((row) => [row.id, row]));
    const selected = new Set([...state.selected].filter((id) => rows.has(id)));
    update({ fleet: { loaded: true, rows }, selected });
  });
}

export function watchWorker(id) {
  update({ worker: { id, loaded: false } });
  const stop = watch(`worker:${id}`, (snapshot) => {
    if (snapshot.metrics && snapshot.received) keepSample(id, snapshot.received, snapshot.metrics);
    update({ worker: snapshot.error ? { id, loaded: true, error: snapshot.error } : { id, loaded: true, ...snapshot } });
  });
  return () => {
    stop();
    forgetSamples(id);
    update({ worker: null });
  };
}

export function watchCommandList() {
  const stop = watch("commands", (snapshot) => update({ commandList: snapshot.commands ?? [] }));
  return () => {
    stop();
    update({ commandList: null });
  };
}

function withCommand(commands, command) {
  const others = commands.filter((other) => other.id !== command.id);
  return [command, ...others].sort((a, b) => b.created - a.created).slice(0, MOST_COMMANDS);
}

function workerChanged(id, changes) {
  if (state.worker?.id === id && state.worker.loaded && !state.worker.error) {
    update({ worker: { ...state.worker, ...changes(state.worker) } });
  }
}

export function startFleet() {
  socket.on("fleet_changed", ({ time, rows: changed, removed }) => {
    learnTime(time);
    if (!state.fleet.loaded) return;
    const rows = new Map(state.fleet.rows);
    for (const row of changed) rows.set(row.id, row);
    for (const id of removed) rows.delete(id);
    const changes = { fleet: { loaded: true, rows } };
    if (removed.some((id) => state.selected.has(id))) {
      changes.selected = new Set([...state.selected].filter((id) => rows.has(id)));
    }
    update(changes);
  });
  socket.on("sample", ({ id, received, metrics }) => {
    workerChanged(id, () => ({ received, metrics }));
    keepSample(id, received, metrics);
  });
  socket.on("worker_row", (row) => workerChanged(row.id, () => ({ row })));
  socket.on("worker_event", ({ id, event }) =>
    workerChanged(id, (worker) => ({ events: [...worker.events, event].slice(-MOST_EVENTS) })),
  );
  socket.on("worker_command", ({ worker_id: id, command }) =>
    workerChanged(id, (worker) => ({ commands: withCommand(worker.commands, command) })),
  );
  socket.on("worker_alert", ({ id, alert }) =>
    workerChanged(id, (worker) => {
      const others = worker.alerts.filter((other) => other.id !== alert.id);
      return { alerts: alert.state === "firing" ? [...others, alert] : others };
    }),
  );
  socket.on("command_listed", (command) => {
    if (state.commandList !== null) update({ commandList: withCommand(state.commandList, command) });
  });
}
