// What a view loads when it opens, and again after it has changed something.

import { notify } from "./actions.js";
import { send } from "./api.js";
import { useCallback, useEffect, useState } from "./html.js";

/** Return `[value, load, change]`: the answer of a GET (null before it), what loads it again, and what changes something.
 *  `change(method, path, body)` loads again afterwards and returns the answer, null where it was an error, which is told. */
export function useLoaded(path) {
  const [value, setValue] = useState(null);
  const load = useCallback(async () => {
    const answer = await send("GET", path);
    if (answer.error) notify(answer.error);
    else setValue(answer);
  }, [path]);
  const change = useCallback(
    async (method, changed, body) => {
      const answer = await send(method, changed, body);
      if (answer.error) notify(answer.error);
      else notify(null);
      await load();
      return answer.error ? null : answer;
    },
    [load],
  );
  useEffect(() => {
    load();
  }, [load]);
  return [value, load, change];
}
