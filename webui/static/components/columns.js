// The columns of the fleet's table, for workers and for cards alike; their widths are the style sheet's `--col-<name>`.

export const COLUMNS = [
  { name: "state", label: "State", sorts: true, isFixed: true },
  { name: "id", label: "Worker", sorts: true, isFixed: true },
  { name: "gpus", label: "GPUs", sorts: true, isFixed: true },
  { name: "free", label: "Free", sorts: true },
  { name: "users", label: "Users", sorts: true },
  { name: "utilization", label: "Utilization", sorts: true },
  { name: "memory", label: "Memory", sorts: true },
  { name: "temperature", label: "Hottest", sorts: true },
  { name: "power", label: "Power", sorts: true },
  { name: "seen", label: "Last seen", sorts: true },
  { name: "run", label: "Command", sorts: false },
];

/** Return the columns that are shown, and the grid's columns for them. */
export function shownColumns(hidden, mayRun, list) {
  const isOffered = (name) => (mayRun || name !== "run") && (list === "workers" || name !== "free");
  const shown = COLUMNS.filter(({ name }) => !hidden.has(name) && isOffered(name));
  const widths = shown.map(({ name }) => `var(--col-${name})`);
  return { shown: new Set(shown.map(({ name }) => name)), columns: shown, widths: [...(mayRun ? ["36px"] : []), ...widths].join(" ") };
}
