// The page: header, state of the connection, and the view that the address asks for.

import { html, useEffect } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AccountPage } from "./account-page.js";
import { ActionDialog } from "./action-dialog.js";
import { AlertPage } from "./alert-page.js";
import { AlertsPage } from "./alerts-page.js";
import { AuditPage } from "./audit-page.js";
import { CommandPage } from "./command-page.js";
import { CommandsPage } from "./commands-page.js";
import { ConfirmDialog } from "./confirm-dialog.js";
import { FleetPage } from "./fleet-page.js";
import { HelpDialog } from "./help-dialog.js";
import { Notice } from "./notice.js";
import { PageHeader } from "./page-header.js";
import { SilenceDialog } from "./silence-dialog.js";
import { UsagePage } from "./usage-page.js";
import { UsersPage } from "./users-page.js";
import { WorkerPage } from "./worker-page.js";

const ALERT_TITLES = {
  firing: "Alerts",
  past: "Past alerts",
  rules: "Alert rules",
  silences: "Silences",
  channels: "Alert channels",
};

const TITLES = {
  fleet: () => "gpumon",
  worker: ({ id }) => `${id} · gpumon`,
  commands: () => "Commands · gpumon",
  command: ({ id }) => `${id} · gpumon`,
  alerts: ({ tab }) => `${ALERT_TITLES[tab]} · gpumon`,
  alert: ({ id }) => `Alert ${id} · gpumon`,
  usage: () => "Usage · gpumon",
  account: () => "Account · gpumon",
  users: () => "Users · gpumon",
  audit: () => "Audit · gpumon",
};

function View({ route }) {
  if (route.view === "worker") return html`<${WorkerPage} key=${route.id} id=${route.id} />`;
  if (route.view === "command") return html`<${CommandPage} key=${route.id} id=${route.id} />`;
  if (route.view === "commands") return html`<${CommandsPage} />`;
  if (route.view === "alerts") return html`<${AlertsPage} tab=${route.tab} />`;
  if (route.view === "alert") return html`<${AlertPage} key=${route.id} id=${route.id} />`;
  if (route.view === "usage") return html`<${UsagePage} />`;
  if (route.view === "account") return html`<${AccountPage} />`;
  if (route.view === "users") return html`<${UsersPage} />`;
  if (route.view === "audit") return html`<${AuditPage} />`;
  return html`<${FleetPage} />`;
}

export function App() {
  const route = useStore((state) => state.route);
  const isLive = useStore((state) => ["live", "connecting"].includes(state.connection.phase));
  const paging = useStore((state) => state.alerts.counts.page?.open ?? 0);
  useEffect(() => {
    document.title = `${paging > 0 ? `(${paging}) ` : ""}${TITLES[route.view](route)}`;
  }, [route, paging]);
  return html`<div class="app ${isLive ? "" : "is-not-live"}">
    <${PageHeader} />
    <${View} route=${route} />
    <${Notice} />
    <${HelpDialog} />
    <${ConfirmDialog} />
    <${ActionDialog} />
    <${SilenceDialog} />
  </div>`;
}
