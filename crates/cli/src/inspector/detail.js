// The part below a row: problems, facts, the conflict beside its first delivery, body, headers, raw bytes, answer.

import { block, copy, element, find, latency, size, visible } from "./text.js";
import { bodyPath, detailOf, order } from "./source.js";
import { linkOf } from "./rows.js";

// Fills `place` with the whole of a row. `known` is the detail, if the page has it already.
export async function fill(place, row, { run, only, known }) {
  place.setAttribute("aria-busy", "true");
  try {
    const detail = known || (await detailOf(row));
    place.replaceChildren(...parts(detail, run, only));
  } catch (failure) {
    place.replaceChildren(element("p", failure.message, "reason"));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function parts(detail, run, only) {
  const { row } = detail;
  const made = [actions(detail, run)];
  if (row.reason) made.push(element("p", visible(row.reason), "reason"));
  if (row.problem_count > 0) made.push(problems(row));
  made.push(facts(detail, only));
  if (detail.first) made.push(comparison(detail.first));
  const columns = element("div", undefined, "columns");
  columns.append(body(detail), request(detail));
  made.push(columns);
  return made;
}

function actions(detail, run) {
  const made = element("div", undefined, "actions");
  const { row } = detail;
  if (detail.can_replay) {
    const button = element("button", "Replay", "small strong");
    button.type = "button";
    button.title = row.n ? "Deliver the same bytes and headers again" : "Deliver the same bytes again, with a new signature";
    button.addEventListener("click", async () => {
      const again = row.n ? { delivery: row.n } : { record: row.event_id };
      await order("/inspector/replay", again).then(
        () => (find("news").textContent = "Replayed"),
        (failure) => made.append(element("span", failure.message, "failed")),
      );
    });
    made.append(button);
  }
  if (detail.curl) made.append(copy("Copy as curl", detail.curl));
  made.append(copy("Copy link", () => location.origin + "/" + linkOf(row, run)));
  return made;
}

function problems(row) {
  const made = element("div", undefined, "problems");
  made.append(element("h3", row.problem_count === 1 ? "1 problem" : `${row.problem_count} problems`));
  const list = element("ul");
  for (const problem of row.problems) {
    const item = element("li");
    item.append(element("code", visible(problem.path)), " " + visible(problem.message));
    list.append(item);
  }
  const more = row.problem_count - row.problems.length;
  if (more > 0 && row.problems.length > 0) list.append(element("li", `and ${more} more`));
  made.append(list);
  return made;
}

function facts({ row, is_complete: isComplete }, only) {
  const made = element("dl", undefined, "facts");
  const fact = (name, value, ...more) => {
    if (value === undefined || value === null || value === "") return;
    const pair = element("div");
    const text = element("dd");
    text.append(element("bdi", visible(value)), ...more);
    pair.append(element("dt", name), text);
    made.append(pair);
  };
  fact("received", row.received_at);
  if (row.status) fact("answer", `${row.status} in ${latency(row.duration_ms)}`);
  if (row.bytes !== undefined) fact("body", size(row.bytes) + (isComplete ? "" : " read, not to its end"));
  fact(row.claimed_event_id ? "record" : "event", row.event_id, copy("copy", row.event_id, "Copy the id"));
  fact("claimed id", row.claimed_event_id);
  if (row.session_id) {
    const button = element("button", "only this", "small");
    button.type = "button";
    button.setAttribute("aria-label", "Show only this session");
    button.addEventListener("click", () => only(row.session_id));
    fact("session", row.session_id, copy("copy", row.session_id, "Copy the session"), button);
  }
  fact("occurred", row.occurred_at);
  fact("expires", row.expires_at);
  fact("erased", row.erased_at);
  fact("alert", row.alert);
  return made;
}

function heading(text, ...buttons) {
  const made = element("div", undefined, "heading");
  made.append(element("h3", text), ...buttons);
  return made;
}

// Equal lines stand on both sides; a line that differs is marked on its side.
function comparison(first) {
  const made = element("section", undefined, "comparison");
  made.append(heading("Beside the first delivery"));
  if (!first.lines) {
    made.append(element("p", "The two are too large to compare line by line."));
    return made;
  }
  const sides = element("div", undefined, "sides");
  sides.tabIndex = 0;
  sides.setAttribute("role", "region");
  sides.setAttribute("aria-label", "Differences");
  sides.append(element("p", "first, accepted " + first.received_at, "side"), element("p", "this delivery", "side"));
  const line = (name, text, label) => {
    const side = element(name, text === null ? "" : text, "line");
    if (text === null) side.classList.add("blank");
    else if (label) side.prepend(element("span", label, "unseen"));
    return side;
  };
  for (const found of first.lines) {
    if (found.both !== undefined) sides.append(line("span", found.both), line("span", found.both));
    else if (found.skipped) sides.append(element("p", found.skipped === 1 ? "1 equal line" : `${found.skipped} equal lines`, "skipped"));
    else sides.append(line("del", found.differ.first, "only first: "), line("ins", found.differ.this, "only this: "));
  }
  made.append(sides);
  return made;
}

function body(detail) {
  const made = element("section");
  const { row } = detail;
  const path = bodyPath(row);
  const text = () => fetch(path).then((answer) => answer.text());
  const save = element("a", "Save", "small");
  save.href = path;
  save.setAttribute("aria-label", "Save the raw body");
  made.append(heading("Body", copy("copy", text, "Copy the body"), save));
  if (row.erased_at) made.append(element("p", "An operator erased the payload of this record."));
  else made.append(block(detail.body, "Body"));
  if (detail.hex) {
    const raw = element("details");
    raw.append(element("summary", "Raw bytes"));
    const more = detail.hex_is_cut ? "… (cut; Save has all bytes)\n" : "";
    raw.append(block({ text: detail.hex + more, is_json: false }, "Raw bytes"));
    made.append(raw);
  }
  return made;
}

function request(detail) {
  const made = element("section");
  if (detail.answer) {
    made.append(heading("Answer", copy("copy", detail.answer.text, "Copy the answer")), block(detail.answer, "Answer"));
  }
  if (!detail.row.n) {
    made.append(heading("Headers"), element("p", "The table keeps no headers; a delivery shows them while the inspector keeps it."));
    return made;
  }
  const text = detail.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  const list = element("dl");
  for (const [name, value] of detail.headers) {
    const pair = element("div");
    if (name === "x-sonotheia-signature") pair.className = "signature";
    pair.append(element("dt", name), element("dd", visible(value)));
    list.append(pair);
  }
  const scrolled = element("div", undefined, "headers");
  scrolled.tabIndex = 0;
  scrolled.setAttribute("role", "region");
  scrolled.setAttribute("aria-label", "Headers");
  scrolled.append(list);
  if (detail.headers_cut > 0) scrolled.append(element("p", `${detail.headers_cut} headers are cut or left out`));
  made.append(heading("Headers", copy("copy", text, "Copy the headers")), scrolled);
  return made;
}
