// One line of the audit: when, who, from where, what, and the rest on demand.

import { clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";
import { alertPath, commandPath } from "../lib/router.js";

const WORDS = {
  login: "logged in",
  "login.failed": "failed to log in",
  logout: "logged out",
  "session.ended": "ended sessions of",
  "user.added": "added",
  "user.removed": "removed",
  "user.password": "changed the password of",
  "user.role": "changed the role of",
  "user.limits": "changed the limit of",
  "token.made": "made an API token for",
  "token.revoked": "revoked an API token of",
  "token.refused": "showed an API token that is not known here",
  "worker.added": "added worker",
  "worker.removed": "removed worker",
  "worker.rotated": "gave another token to worker",
  "worker.joined": "a worker joined:",
  "worker.join_refused": "a worker was refused:",
  "join_key.made": "made the join key",
  "join_key.revoked": "revoked the join key",
  "alert.acknowledged": "acknowledged",
  "alert.unacknowledged": "took back the acknowledgement of",
  "silence.made": "silenced",
  "silence.ended": "ended a silence of",
  "alert_rule.changed": "changed the alert rule",
  "alert_rule.removed": "took back the changes of the alert rule",
  "alert_channel.tested": "tried the channel",
  "backup.taken": "took a backup to",
  "backup.restored": "put back the backup",
  "command.run": "ran",
  "command.mqtt": "sent over MQTT",
  "command.cancelled": "cancelled",
  "command.ended": "'s command ended:",
};
const HIDDEN = new Set(["login", "logout"]); // their subject is a session's id

function Subject({ entry }) {
  if (entry.action === "command.ended") {
    const counts = Object.entries(entry.detail.counts ?? {}).map(([how, count]) => `${count} ${how}`);
    return html`<a href=${commandPath(entry.subject)}>${counts.join(", ")}</a>`;
  }
  if (entry.action.startsWith("command.")) {
    const text = entry.detail.command ?? entry.subject ?? "a command";
    return entry.subject === null ? html`<code>${text}</code>` : html`<a href=${commandPath(entry.subject)}><code>${text}</code></a>`;
  }
  if (entry.action.startsWith("alert.")) {
    return html`<a href=${alertPath(entry.subject)}>${[entry.detail.rule, entry.detail.worker].filter(Boolean).join(" on ") || entry.subject}</a>`;
  }
  if (entry.action.startsWith("silence.")) {
    const { rule, worker } = entry.detail;
    return html`${rule ?? "every alert"}${worker ? ` on ${worker}` : ""}`;
  }
  return HIDDEN.has(entry.action) ? null : html`${entry.subject}`;
}

/** Return a detail as text: lists by commas, and what is by name a line each. */
function shown(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (value !== null && typeof value === "object") {
    return Object.entries(value)
      .map(([key, inner]) => `${key}: ${shown(inner)}`)
      .join("\n");
  }
  return String(value);
}

function whoOf({ who, origin }) {
  return who ?? (origin === "master" ? "gpumon" : "unknown");
}

export function AuditRow({ entry }) {
  const details = Object.entries(entry.detail).filter(([, value]) => value !== null && value !== 0);
  return html`<li>
    <span class="entry-name audit-what">
      ${whoOf(entry)}${entry.action === "command.ended" ? "" : " "}<span class="audit-verb">${WORDS[entry.action] ?? entry.action}</span>${" "}
      <${Subject} entry=${entry} />
    </span>
    <span class="quiet entry-more">
      ${clockTime(entry.time)} · ${entry.origin}${entry.address === null ? "" : ` from ${entry.address}`} · ${entry.action}
    </span>
    ${details.length > 0 &&
    html`<details class="entry-open">
      <summary class="quiet">Details</summary>
      <dl class="details">
        ${details.map(
          ([key, value]) => html`<div key=${key}>
            <dt>${key.replaceAll("_", " ")}</dt>
            <dd>${shown(value)}</dd>
          </div>`,
        )}
      </dl>
    </details>`}
  </li>`;
}
