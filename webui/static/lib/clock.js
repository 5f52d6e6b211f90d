// The server's clock as the browser knows it, and a tick each second for what shows an age.

import { useEffect, useReducer } from "./html.js";

let offset = null;

/** Learn from a server's time that has just arrived; the least delayed message tells the most. */
export function learnTime(serverTime) {
  const measured = serverTime - Date.now() / 1000;
  if (offset === null || measured > offset) offset = measured;
}

/** Forget what was learned, since this machine's clock may have been set. */
export function forgetTime() {
  offset = null;
}

/** Return the server's time now, in seconds since 1970. */
export function serverNow() {
  return Date.now() / 1000 + (offset ?? 0);
}

const tickers = new Set();
setInterval(() => {
  for (const ticker of [...tickers]) ticker();
}, 1000);

/** Render again each second and return the server's time. */
export function useNow() {
  const [, tick] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    tickers.add(tick);
    return () => tickers.delete(tick);
  }, []);
  return serverNow();
}
