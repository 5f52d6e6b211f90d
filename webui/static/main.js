// Starts the page in the shell that the server sent.

import { App } from "./components/app.js";
import { startAlerts } from "./lib/alerts.js";
import { startCommands } from "./lib/commands.js";
import { startFleet } from "./lib/fleet_live.js";
import { startFleetView } from "./lib/fleet_view.js";
import { html, render } from "./lib/html.js";
import { startKeys } from "./lib/keys.js";
import { startLive } from "./lib/live.js";
import { startRouter } from "./lib/router.js";
import { update } from "./lib/store.js";

const root = document.getElementById("page");
const session = JSON.parse(root.dataset.session);

update({
  session,
  brokerProblem: session.broker_problem,
  historyProblem: session.history_problem,
  mastersProblem: session.masters_problem,
});
startRouter();
startFleetView();
startFleet();
startKeys();
startCommands();
startAlerts();
render(html`<${App} />`, root);
startLive();
