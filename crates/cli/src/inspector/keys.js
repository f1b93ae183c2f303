// The keys: j and k move, / searches, Enter opens (a row is a button), Esc closes.

import { find } from "./text.js";

function move(list, step) {
  const all = [...list.children];
  const at = all.findIndex((item) => item.contains(document.activeElement));
  const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + step))];
  if (!next) return;
  next.firstElementChild.focus();
  next.firstElementChild.scrollIntoView({ block: "nearest" });
}

function escape({ list, close, filtered }) {
  const active = document.activeElement;
  if (active.matches("input")) {
    active.value = "";
    active.blur();
    filtered();
    return;
  }
  const item = list.querySelector("li.open");
  if (!item) return;
  close(item);
  item.firstElementChild.focus();
}

export function watchKeys(page) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") escape(page);
    if (event.target.matches("input, select, textarea")) return;
    const actions = { j: () => move(page.list, 1), k: () => move(page.list, -1), "/": () => find("text").focus() };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
