// Elements and texts. Everything that came from outside becomes text, never markup.

export const find = (id) => document.getElementById(id);

export function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Control characters, and characters that change the direction of the text after them.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

// A text on one line, in which nothing is hidden.
export function visible(text) {
  return String(text).replace(UNSEEN, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
}

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|\b(true|false|null)\b/g;
const MOST_TOKENS = 6000;

// JSON with colours. What is behind the bound stays without colours.
function coloured(text) {
  const made = element("code");
  let end = 0;
  let count = 0;
  for (const token of text.matchAll(TOKENS)) {
    if ((count += 1) > MOST_TOKENS) break;
    if (token.index > end) made.append(text.slice(end, token.index));
    const [, string, colon, number] = token;
    const kind = string ? (colon ? "name" : "string") : number ? "number" : "word";
    made.append(element("span", string || token[0], kind));
    if (colon) made.append(colon);
    end = token.index + token[0].length;
  }
  made.append(text.slice(end));
  return made;
}

// A block of text that scrolls; keys reach it.
export function block(shown, label) {
  const made = element("pre");
  made.append(shown.is_json ? coloured(shown.text) : shown.text);
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", label);
  return made;
}

// A button that copies. `text` may be a function that fetches the text.
export function copy(label, text, name) {
  const button = element("button", label, "small");
  button.type = "button";
  if (name) button.setAttribute("aria-label", name);
  button.addEventListener("click", async (click) => {
    click.stopPropagation();
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? await text() : text);
    } catch {
      done = "Not copied: the browser refused";
    }
    button.textContent = done;
    find("news").textContent = done;
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

const two = (number) => String(number).padStart(2, "0");

// The time of day and its milliseconds, or the date and the time if it is not today.
export function clock(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return [text, ""];
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const isToday = new Date().toDateString() === time.toDateString();
  const at = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (!isToday) return [`${day.slice(2)} ${at.slice(0, 5)}`, ""];
  return [at, "." + String(time.getMilliseconds()).padStart(3, "0")];
}

export function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KB`;
}

export function latency(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
