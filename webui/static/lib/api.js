// Asking the server for what is not pushed: reads and changes, with the session's token against forged requests.

import { state } from "./store.js";

/** Send a request; returns the answer, or `{error}` in words. A session that has ended leads to the log-in. */
export async function send(method, path, body) {
  const headers = method === "GET" ? {} : { "X-CSRFToken": state.session.csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    return { error: "no answer: it is not known whether this was done" };
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    return { error: "log in again" };
  }
  try {
    return await response.json();
  } catch {
    return { error: `the server answered ${response.status}` };
  }
}

/** Return a path with names in it, each kept from being anything else: path`users/${name}`. */
export function path(parts, ...names) {
  return parts.reduce((text, part, at) => text + encodeURIComponent(names[at - 1]) + part);
}
