// Commands on all workers, newest first: live, or those that a search finds.

import { notify } from "../lib/actions.js";
import { send } from "../lib/api.js";
import { watchCommandList } from "../lib/fleet_live.js";
import { html, useEffect, useState } from "../lib/html.js";
import { useStore } from "../lib/store.js";
import { CommandList } from "./command-list.js";
import { SearchField } from "./search-field.js";

const AT_ONCE = 100;
const SEARCHED_AFTER_MS = 250;

/** Return what the search finds (null: nothing is searched, or it is not known yet), and what asks for more of it. */
function useFound(text) {
  const [found, setFound] = useState({ text: "", commands: null, hasMore: false });

  async function load(before) {
    const asked = new URLSearchParams({ q: text, limit: AT_ONCE, ...(before === undefined ? {} : { before }) });
    const answer = await send("GET", `commands?${asked}`);
    if (answer.error) notify(answer.error);
    return answer.commands ?? [];
  }

  useEffect(() => {
    if (text === "") return undefined;
    let isCurrent = true;
    const timer = setTimeout(async () => {
      const commands = await load();
      if (isCurrent) setFound({ text, commands, hasMore: commands.length === AT_ONCE });
    }, SEARCHED_AFTER_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [text]);

  async function more() {
    const commands = await load(found.commands.at(-1).created);
    setFound({ text, commands: [...found.commands, ...commands], hasMore: commands.length === AT_ONCE });
  }

  return [found.text === text ? found : { commands: null, hasMore: false }, more];
}

export function CommandsPage() {
  useEffect(watchCommandList, []);
  const live = useStore((state) => state.commandList);
  const [text, setText] = useState("");
  const [found, more] = useFound(text);
  const commands = text === "" ? live : found.commands;
  return html`<main class="page page-narrow">
    <h1 class="page-title" tabindex="-1">Commands</h1>
    <${SearchField} label="Search commands" placeholder="Search in commands and names" value=${text} onSearch=${setText} />
    <section class="card">
      ${commands === null && html`<p class="quiet">Loading…</p>`}
      ${commands !== null && commands.length === 0 && text !== "" && html`<p class="quiet">No command matches “${text}”.</p>`}
      ${commands !== null && (commands.length > 0 || text === "") && html`<${CommandList} commands=${commands} />`}
      ${text !== "" && found.hasMore && html`<button class="button" onClick=${more}>Show more</button>`}
    </section>
  </main>`;
}
