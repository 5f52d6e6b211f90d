// Where somebody is logged in, and the buttons that end it.

import { path } from "../lib/api.js";
import { clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";

const BROWSERS = [
  [/\bEdg(?:A|iOS)?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/\bChrome\/|\bCriOS\/|\bHeadlessChrome\//, "Chrome"],
  [/\bSafari\//, "Safari"],
];
const SYSTEMS = [
  [/\bAndroid\b/, "Android"],
  [/\biPhone\b|\biPad\b/, "iOS"],
  [/\bWindows\b/, "Windows"],
  [/\bMac OS X\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/** Return the browser in words; what is not known stays as it was sent. */
function browser(agent) {
  const first = (known) => known.find(([pattern]) => pattern.test(agent))?.[1];
  const [name, system] = [first(BROWSERS), first(SYSTEMS)];
  return name ? name + (system ? ` on ${system}` : "") : agent.slice(0, 60) || "unknown browser";
}

export function SessionList({ sessions, own, change }) {
  if (sessions === null) return html`<p class="quiet">Loading…</p>`;
  return html`<ul class="entries">
    ${sessions.map(
      (session) => html`<li key=${session.id}>
        <span class="entry-name" title=${session.browser}>${browser(session.browser)}</span>
        <span class="quiet entry-more">
          ${session.address} · logged in ${clockTime(session.created)} · last seen ${clockTime(session.last_seen)} · until${" "}
          ${clockTime(session.expires)}
        </span>
        ${session.id === own
          ? html`<span class="tag">this one</span>`
          : html`<button
              class="button button-quiet"
              aria-label=${`End the session from ${session.address}`}
              onClick=${() => change("DELETE", path`account/sessions/${session.id}`)}
            >
              End
            </button>`}
      </li>`,
    )}
  </ul>`;
}
