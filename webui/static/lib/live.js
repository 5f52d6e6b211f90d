// The live connection: what is watched is asked for again after every reconnect, so that nothing stale stays.

import { io } from "../vendor/socket.io.js";
import { forgetTime, learnTime } from "./clock.js";
import { state, update } from "./store.js";

const ANSWER_WITHIN_MS = 20_000;
const LOG_IN_CHECK_EVERY_MS = 2_000;

const watched = new Map();
let checkedAt = 0;
let checkLater = 0;

export const socket = io({
  transports: ["websocket"],
  autoConnect: false,
  reconnectionDelay: 500,
  reconnectionDelayMax: 5_000,
});

function connection(changes) {
  update({ connection: { ...state.connection, ...changes } });
}

async function ask(topic) {
  const handler = watched.get(topic);
  try {
    const snapshot = await socket.timeout(ANSWER_WITHIN_MS).emitWithAck("watch", topic);
    if (watched.get(topic) !== handler) return;
    if (snapshot.time !== undefined) learnTime(snapshot.time);
    handler(snapshot);
  } catch {
    // No answer: still connected means that the server is slow, so ask again; otherwise connecting again does.
    if (socket.connected && watched.get(topic) === handler) setTimeout(ask, 1000, topic);
  }
}

/** Watch a topic: `handler` gets how it is now, again after each reconnect. Returns what ends the watching. */
export function watch(topic, handler) {
  watched.set(topic, handler);
  if (socket.connected) ask(topic);
  return () => {
    if (watched.get(topic) !== handler) return;
    watched.delete(topic);
    if (socket.connected) socket.emit("unwatch", topic);
  };
}

/** Ask the server to do something; returns its answer, `{error}` where there is none. */
export async function request(event, data) {
  if (!socket.connected) return { error: "not connected: nothing was sent" };
  try {
    return await socket.timeout(ANSWER_WITHIN_MS).emitWithAck(event, data);
  } catch {
    return { error: "no answer: it is not known whether this was done" };
  }
}

/** Ask whether one is still logged in, at once or as soon as it may be asked again. */
async function goToLogInIfNeeded() {
  clearTimeout(checkLater);
  const wait = checkedAt + LOG_IN_CHECK_EVERY_MS - Date.now();
  if (wait > 0) {
    checkLater = setTimeout(goToLogInIfNeeded, wait);
    return;
  }
  checkedAt = Date.now();
  try {
    const response = await fetch("/api/v1/session", { cache: "no-store" });
    if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    if (response.ok) update({ session: await response.json() });
  } catch {
    // The server is not there; the next attempt asks again.
  }
}

export function startLive() {
  socket.on("connect", () => {
    forgetTime();
    connection({ phase: "live", message: null, heard: Date.now() });
    socket.io.engine.on("packet", () => {
      state.connection.heard = Date.now(); // changes nothing that is shown while live
    });
    for (const topic of watched.keys()) ask(topic);
    goToLogInIfNeeded();
  });
  socket.on("disconnect", (reason) => {
    connection({ phase: "lost", message: null });
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1_000); // the one it does not mend itself
    goToLogInIfNeeded();
  });
  socket.on("connect_error", (error) => {
    // A refusal comes from the server in words, and is final for socket.io; anything else it tries again by itself.
    const refused = !socket.active;
    connection({ phase: refused ? "refused" : "lost", message: refused ? error.message : null });
    if (refused) setTimeout(() => socket.connect(), 5_000);
    goToLogInIfNeeded();
  });
  socket.on("broker_link", ({ problem }) => update({ brokerProblem: problem }));
  socket.on("history_kept", ({ problem }) => update({ historyProblem: problem }));
  socket.on("masters_shared", ({ problem }) => update({ mastersProblem: problem }));
  socket.connect();
}
