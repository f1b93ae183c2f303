// The rows: what they show, which of them the filters let through, and their order.

import { clock, element, latency, visible } from "./text.js";

// A row's name in this page. A record and the delivery that wrote it are the same event.
export const keyOf = (row) => (row.n ? `d${row.n}` : `r${row.event_id}`);

// The part of the address that names a row. A record's id also works after a restart.
export function linkOf(row, run) {
  const isLasting = !row.n || row.outcome === "accepted";
  return "#" + (isLasting && row.event_id ? encodeURIComponent(row.event_id) : `delivery-${run}-${row.n}`);
}

export function notes(row) {
  const made = [];
  if (row.alert) made.push({ text: row.alert.replaceAll("_", " "), kind: "alert" });
  if (row.erased_at) made.push({ text: "erased", kind: "erased" });
  const [problem] = row.problems;
  if (row.problem_count > 1) made.push({ text: `${row.problem_count} problems`, kind: "problem" });
  else if (problem) made.push({ text: `${problem.path} ${problem.message}`, kind: "problem" });
  if (row.reason) made.push({ text: row.reason, kind: "refusal" });
  return made;
}

const TONES = { accepted: "good", duplicate: "again" };
export const toneOf = (row) => TONES[row.outcome] || "bad";

// The inspector reads nothing of a body that is not signed.
function typeless(row) {
  if (row.outcome === "invalid signature") return "not verified";
  return row.outcome === "too large" || row.outcome === "unreadable" ? "not read" : "no event";
}

function cell(className, text, missing) {
  const made = element("span", undefined, className);
  if (text) {
    made.append(element("bdi", visible(text)));
    made.title = visible(text);
  } else if (missing) {
    made.append(missing);
    made.classList.add("none");
  }
  return made;
}

export function button(row) {
  const made = element("button", undefined, "row");
  made.type = "button";
  made.setAttribute("aria-expanded", "false");
  const [at, ms] = clock(row.received_at);
  const time = element("time", at, "time");
  time.append(element("span", ms, "ms"));
  time.dateTime = row.received_at;
  time.title = row.received_at;
  const note = element("span", undefined, "notes");
  for (const { text, kind } of notes(row)) {
    const shown = element("span", visible(text), "note " + kind);
    shown.title = visible(text);
    note.append(shown);
  }
  made.append(
    time,
    element("span", row.outcome, "outcome " + toneOf(row)),
    cell("type", row.type, typeless(row)),
    cell("event", row.claimed_event_id || row.event_id),
    cell("session", row.session_id),
    note,
    element("span", row.status, "status number"),
    element("span", row.duration_ms === undefined ? "" : latency(row.duration_ms), "latency number"),
  );
  return made;
}

export function summary(row) {
  return [row.outcome, row.type, ...notes(row).map((note) => note.text)].filter(Boolean).join(", ");
}

// Newest first. Deliveries with the same time keep the order of their numbers.
export function isNewer(a, b) {
  if (a.received_at !== b.received_at) return a.received_at > b.received_at;
  return (a.n || 0) > (b.n || 0);
}

export class Filter {
  constructor() {
    this.text = "";
    this.outcome = "";
    this.type = "";
    this.session = "";
    // The numbers of the deliveries whose body has the text.
    this.bodies = new Set();
  }

  get isSet() {
    return Boolean(this.text || this.outcome || this.type || this.session);
  }

  passes(row) {
    if (this.outcome && row.outcome !== this.outcome) return false;
    if (this.type && row.type !== this.type) return false;
    if (this.session && !(row.session_id || "").includes(this.session)) return false;
    return !this.text || this.bodies.has(row.n) || this.isIn(row);
  }

  isIn(row) {
    const problems = row.problems.flatMap((problem) => [problem.path, problem.message]);
    const texts = [row.event_id, row.claimed_event_id, row.type, row.session_id, row.outcome, row.alert, row.reason, ...problems];
    const wanted = this.text.toLowerCase();
    return texts.some((text) => text && text.toLowerCase().includes(wanted));
  }
}
