// Commands that are looked at: their targets, and the output of those targets that are open, without gap or repeat.
//
// The output so far is fetched; what arrives meanwhile waits and is put behind it by its number (`seq`). A number that
// is skipped, or word from the server that a browser fell behind, makes it fetch again.

import { socket, watch } from "./live.js";
import { state, update } from "./store.js";
import { emptyScreen, written } from "./terminal.js";

const OPEN_AT_FIRST = 8;
const FETCH_AGAIN_AFTER_MS = 1_000;
const MOST_IN_ONE_REQUEST = 50;
const UNFINISHED = new Set(["sent", "running"]);

export const isUnfinished = (target) => UNFINISHED.has(target.state);

function change(id, changes) {
  const command = state.commands.get(id);
  if (command === undefined) return;
  update({ commands: new Map(state.commands).set(id, { ...command, ...changes(command) }) });
}

function withOutput(command, workerId, output) {
  return { outputs: new Map(command.outputs).set(workerId, output) };
}

function unread(previous) {
  return { phase: "unread", screen: previous?.screen ?? emptyScreen, next: 0, waiting: [] };
}

/** Keep a command up to date while it is shown; may be shown in several places at once. */
export function watchCommand(id) {
  const known = state.commands.get(id);
  if (known !== undefined) {
    change(id, (command) => ({ watchers: command.watchers + 1 }));
  } else {
    const empty = { id, loaded: false, error: null, record: null, targets: new Map(), open: new Set(), outputs: new Map() };
    update({ commands: new Map(state.commands).set(id, { ...empty, watchers: 1, stop: null }) });
    const stop = watch(`command:${id}`, (snapshot) => loaded(id, snapshot));
    change(id, () => ({ stop }));
  }
  return () => {
    const command = state.commands.get(id);
    if (command.watchers > 1) {
      change(id, () => ({ watchers: command.watchers - 1 }));
      return;
    }
    command.stop();
    const commands = new Map(state.commands);
    commands.delete(id);
    update({ commands });
  };
}

function loaded(id, snapshot) {
  change(id, (command) => {
    if (snapshot.error) return { loaded: true, error: snapshot.error };
    const { targets, ...record } = snapshot.command;
    const first = command.loaded ? command.open : new Set(targets.slice(0, OPEN_AT_FIRST).map((target) => target.worker_id));
    return {
      loaded: true,
      error: null,
      record,
      targets: new Map(targets.map((target) => [target.worker_id, target])),
      open: first,
      outputs: new Map([...first].map((workerId) => [workerId, unread(command.outputs.get(workerId))])),
    };
  });
  fetchUnread(id);
}

export function openTarget(id, workerId, isOpen) {
  change(id, (command) => {
    const open = new Set(command.open);
    const outputs = new Map(command.outputs);
    if (isOpen) {
      open.add(workerId);
      outputs.set(workerId, unread());
    } else {
      open.delete(workerId);
      outputs.delete(workerId);
    }
    return { open, outputs };
  });
  fetchUnread(id);
}

async function fetchUnread(id) {
  const command = state.commands.get(id);
  if (command === undefined) return;
  const names = [...command.outputs].filter(([, output]) => output.phase === "unread").map(([name]) => name);
  if (names.length === 0) return;
  change(id, ({ outputs }) => ({
    outputs: new Map([...outputs].map(([name, output]) => [name, names.includes(name) ? { ...output, phase: "reading" } : output])),
  }));
  for (let at = 0; at < names.length; at += MOST_IN_ONE_REQUEST) {
    await fetchOutputs(id, names.slice(at, at + MOST_IN_ONE_REQUEST));
  }
}

async function fetchOutputs(id, names) {
  const query = new URLSearchParams(names.map((name) => ["worker", name]));
  let fetched;
  try {
    const response = await fetch(`/api/v1/commands/${encodeURIComponent(id)}/output?${query}`, { cache: "no-store" });
    if (!response.ok) throw new Error(response.statusText);
    fetched = (await response.json()).output;
  } catch {
    for (const name of names) readAgainLater(id, name);
    return;
  }
  for (const name of names) {
    change(id, (command) => {
      const output = command.outputs.get(name);
      if (output === undefined || output.phase !== "reading") return {};
      let read = { phase: "ready", screen: emptyScreen, next: 0, waiting: [] };
      for (const chunk of fetched[name] ?? []) read = added(read, chunk);
      // What is still missing after fetching is lost; going on beats asking for ever.
      for (const chunk of output.waiting) if (chunk.seq >= read.next) read = added(read, chunk);
      return withOutput(command, name, read);
    });
  }
}

function added(output, { seq, stream, data }) {
  return { ...output, screen: written(output.screen, stream, data), next: seq + 1 };
}

function readAgainLater(id, name) {
  change(id, (command) => {
    const output = command.outputs.get(name);
    return output === undefined ? {} : withOutput(command, name, { ...output, phase: "behind" });
  });
  setTimeout(() => {
    change(id, (command) => {
      const output = command.outputs.get(name);
      return output?.phase === "behind" ? withOutput(command, name, unread(output)) : {};
    });
    fetchUnread(id);
  }, FETCH_AGAIN_AFTER_MS);
}

function progressed({ id, output: pieces, targets: changed, behind }) {
  const command = state.commands.get(id);
  if (command === undefined || !command.loaded || command.error) return;
  const outputs = new Map(command.outputs);
  const late = new Set(behind.filter((name) => outputs.has(name)));
  for (const piece of pieces) {
    const output = outputs.get(piece.worker_id);
    if (output === undefined || (output.phase === "ready" && piece.seq < output.next)) continue;
    if (output.phase !== "ready") {
      outputs.set(piece.worker_id, { ...output, waiting: [...output.waiting, piece] });
    } else if (piece.seq === output.next) {
      outputs.set(piece.worker_id, added(output, piece));
    } else {
      late.add(piece.worker_id);
    }
  }
  const targets = new Map(command.targets);
  for (const target of changed) targets.set(target.worker_id, target);
  change(id, () => ({ outputs, targets }));
  for (const name of late) if (outputs.get(name).phase === "ready") readAgainLater(id, name);
}

export function startCommands() {
  socket.on("command_progress", progressed);
}
