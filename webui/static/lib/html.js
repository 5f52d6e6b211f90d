// Preact with htm in place of JSX: `html` builds elements; text put into it stays text.
//
// No component passes over a render (`shouldComponentUpdate`): with Preact 11.2 that keeps every earlier tree in memory,
// 0.8 MB a second with a thousand workers. Only what is in sight is drawn, so drawing it again is cheap.

import htm from "../vendor/htm.js";
import { createElement, render } from "../vendor/preact.js";

export { render };
export {
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "../vendor/preact-hooks.js";

export const html = htm.bind(createElement);
