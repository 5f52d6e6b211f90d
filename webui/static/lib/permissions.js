// On which workers one may run commands; the server decides the same again for whatever is sent.

/** Tell whether this session's user may run commands on a worker with these labels. */
export function mayCommand(session, labels) {
  if (!session.may_run) return false;
  return Object.entries(session.commands_on ?? {}).every(([key, value]) => labels[key] === value);
}
