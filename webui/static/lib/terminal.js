// A command's output as a terminal would leave it: escape codes dropped, carriage returns starting their line anew.

// Control sequences (ECMA-48: CSI, OSC and other strings, two-character escapes) and other control characters.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]*[0-~])/g;
const BEGUN_ESCAPE = /\u001b(?:\[[0-?]*[ -/]*|[\]PX^_][^\u0007\u001b]*\u001b?|[ -/]*)?$/;
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;
const LONGEST_BEGUN_ESCAPE = 4096;
const PIECE_CHARACTERS = 8192;
const MOST_PIECES = 48;

export const emptyScreen = { pieces: [], begun: { stdout: "", stderr: "" }, returned: false, cut: false };

function withoutLine(pieces) {
  const kept = [...pieces];
  while (kept.length > 0) {
    const last = kept[kept.length - 1];
    const end = last.text.lastIndexOf("\n");
    if (end >= 0) {
      kept[kept.length - 1] = { ...last, text: last.text.slice(0, end + 1) };
      break;
    }
    kept.pop();
  }
  return kept;
}

function append(pieces, stream, text) {
  if (text === "") return;
  const last = pieces[pieces.length - 1];
  if (last !== undefined && last.stream === stream && last.text.length < PIECE_CHARACTERS) {
    pieces[pieces.length - 1] = { ...last, text: last.text + text };
  } else {
    pieces.push({ key: (last?.key ?? 0) + 1, stream, text });
  }
}

/** Return the screen after more output; earlier pieces are dropped once there are too many to show. */
export function written(screen, stream, data) {
  let text = screen.begun[stream] + data;
  const begunAt = text.length > LONGEST_BEGUN_ESCAPE ? null : BEGUN_ESCAPE.exec(text);
  const begun = begunAt === null ? "" : begunAt[0];
  text = text.slice(0, text.length - begun.length).replace(ESCAPES, "").replace(CONTROLS, "");

  let pieces = [...screen.pieces];
  let returned = screen.returned;
  text.split("\r").forEach((segment, index) => {
    if (index > 0) returned = true;
    if (segment === "") return;
    if (returned && !segment.startsWith("\n")) pieces = withoutLine(pieces);
    returned = false;
    for (let at = 0; at < segment.length; at += PIECE_CHARACTERS) {
      append(pieces, stream, segment.slice(at, at + PIECE_CHARACTERS));
    }
  });
  const cut = screen.cut || pieces.length > MOST_PIECES;
  return { pieces: pieces.slice(-MOST_PIECES), begun: { ...screen.begun, [stream]: begun }, returned, cut };
}

/** Return text as a terminal would leave it. */
export function plainText(text) {
  const wide = written(emptyScreen, "stdout", text);
  return wide.cut ? text.replace(ESCAPES, "").replace(CONTROLS, "") : wide.pieces.map((piece) => piece.text).join("");
}
