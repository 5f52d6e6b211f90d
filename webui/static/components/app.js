// The page: header, state of the connection, and the view that the address asks for.

import { html, useEffect } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { AccountPage } from "./account-page.js";
import { AuditPage } from "./audit-page.js";
import { CommandPage } from "./command-page.js";
import { CommandsPage } from "./commands-page.js";
import { ConfirmDialog } from "./confirm-dialog.js";
import { FleetPage } from "./fleet-page.js";
import { HelpDialog } from "./help-dialog.js";
import { Notice } from "./notice.js";
import { PageHeader } from "./page-header.js";
import { UsersPage } from "./users-page.js";
import { WorkerPage } from "./worker-page.js";

const TITLES = {
  fleet: () => "gpumon",
  worker: ({ id }) => `${id} · gpumon`,
  commands: () => "Commands · gpumon",
  command: ({ id }) => `${id} · gpumon`,
  account: () => "Account · gpumon",
  users: () => "Users · gpumon",
  audit: () => "Audit · gpumon",
};

function View({ route }) {
  if (route.view === "worker") return html`<${WorkerPage} key=${route.id} id=${route.id} />`;
  if (route.view === "command") return html`<${CommandPage} key=${route.id} id=${route.id} />`;
  if (route.view === "commands") return html`<${CommandsPage} />`;
  if (route.view === "account") return html`<${AccountPage} />`;
  if (route.view === "users") return html`<${UsersPage} />`;
  if (route.view === "audit") return html`<${AuditPage} />`;
  return html`<${FleetPage} />`;
}

export function App() {
  const route = useStore((state) => state.route);
  const isLive = useStore((state) => ["live", "connecting"].includes(state.connection.phase));
  useEffect(() => {
    document.title = TITLES[route.view](route);
  }, [route]);
  return html`<div class="app ${isLive ? "" : "is-not-live"}">
    <${PageHeader} />
    <${View} route=${route} />
    <${Notice} />
    <${HelpDialog} />
    <${ConfirmDialog} />
  </div>`;
}
