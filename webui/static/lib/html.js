// Preact with htm in place of JSX: `html` builds elements; text put into it stays text.

import htm from "../vendor/htm.js";
import { Component, createElement, render } from "../vendor/preact.js";

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

function differs(a, b) {
  for (const key in a) if (!Object.is(a[key], b[key])) return true;
  for (const key in b) if (!(key in a)) return true;
  return false;
}

/** Render a component again only when one of its properties is another value. */
export function memo(component) {
  return class Memo extends Component {
    shouldComponentUpdate(next) {
      return differs(this.props, next);
    }

    render(props) {
      return createElement(component, props);
    }
  };
}
