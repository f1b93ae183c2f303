"use strict";
// Everything that came from outside is put in as text, never as markup.

const MOST = 100;
const find = (id) => document.getElementById(id);
const list = find("deliveries");
const counts = { accepted: 0, duplicate: 0, refused: 0, alerts: 0 };
let run = "";

find("address").textContent = location.origin + "/webhook";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function count(name) {
  counts[name] += 1;
  find("count-" + name).textContent = counts[name];
}

function clear() {
  list.replaceChildren();
  for (const name of Object.keys(counts)) {
    counts[name] = 0;
    find("count-" + name).textContent = 0;
  }
  find("empty").hidden = false;
}

function fact(facts, name, value) {
  if (value === null || value === undefined) return;
  const row = element("div");
  row.append(element("dt", name), element("dd", value));
  facts.append(row);
}

function notes(delivery) {
  const made = [];
  if (delivery.alert) made.push("alert: " + delivery.alert.replaceAll("_", " "));
  if (delivery.problems) made.push(delivery.problems === 1 ? "1 problem" : delivery.problems + " problems");
  return made;
}

// What has no type: nothing is read of a body before its signature holds.
function untyped(delivery) {
  return delivery.outcome === "refused" ? "not verified" : "no event";
}

function show(delivery) {
  const item = element("li");
  item.classList.toggle("alert", Boolean(delivery.alert));
  // What was there before the page is not to flash.
  item.classList.toggle("new", Date.now() - Date.parse(delivery.received_at) < 2000);
  item.dataset.outcome = delivery.outcome;
  const details = element("details");
  const summary = element("summary");
  const what = element("span", undefined, "what");
  for (const note of notes(delivery)) what.append(element("span", note, "badge note"));
  if (delivery.event_id) what.append(element("code", delivery.event_id));
  if (delivery.reason) what.append(element("span", delivery.reason));
  const time = element("time", new Date(delivery.received_at).toLocaleTimeString());
  time.dateTime = delivery.received_at;
  time.title = delivery.received_at;
  summary.append(
    element("span", delivery.outcome, "badge " + delivery.outcome.replaceAll(" ", "-")),
    delivery.type ? element("span", delivery.type, "type") : element("span", untyped(delivery), "type none"),
    what,
    time,
  );
  details.append(summary);
  // Most are never looked into.
  details.addEventListener("toggle", () => details.append(inside(delivery)), { once: true });
  item.append(details);
  return item;
}

function inside(delivery) {
  const made = element("div", undefined, "inside");
  if (delivery.reason) made.append(element("p", delivery.reason, "reason"));
  const facts = element("dl", undefined, "facts");
  fact(facts, "received", delivery.received_at);
  fact(facts, "answered", delivery.status + " in " + delivery.duration_ms.toFixed(1) + " ms");
  fact(facts, "body", delivery.bytes + " bytes");
  fact(facts, "event id", delivery.event_id);
  fact(facts, "alert", delivery.alert);
  made.append(facts, element("h3", "Body"), block(delivery.body, "Body"), element("h3", "Answer"), block(delivery.answer, "Answer"));
  return made;
}

// A block that scrolls can be reached and scrolled by keys.
function block(text, label) {
  const made = element("pre", text);
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", label);
  return made;
}

function arrived(delivery) {
  find("empty").hidden = true;
  list.prepend(show(delivery));
  while (list.children.length > MOST) list.lastElementChild.remove();
  const kind = { accepted: "accepted", duplicate: "duplicate" }[delivery.outcome] || "refused";
  count(kind);
  if (delivery.alert) count("alerts");
  find("news").textContent = [delivery.outcome, delivery.type, ...notes(delivery), delivery.reason].filter(Boolean).join(", ");
}

function connect() {
  const connection = find("connection");
  const state = (text, name) => {
    connection.textContent = text;
    connection.className = "connection " + name;
  };
  const stream = new EventSource("/inspector/deliveries");
  stream.addEventListener("open", () => state("live", "on"));
  stream.addEventListener("error", () => {
    state("no connection; trying again", "off");
    // Some failures end it; then it is on us to try.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
  // Another process has other deliveries, and does not know these.
  stream.addEventListener("run", (message) => {
    if (message.data !== run) clear();
    run = message.data;
  });
  stream.addEventListener("message", (message) => arrived(JSON.parse(message.data)));
}

async function press(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const wanted = { what: button.dataset.what };
  if (button.dataset.type) wanted.type = button.dataset.type;
  if (wanted.what === "sample" || wanted.what === "all") wanted.envelope = find("envelope").value;
  button.setAttribute("aria-disabled", "true");
  find("sending").textContent = "";
  try {
    const answer = await fetch("/inspector/send", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(wanted),
    });
    if (!answer.ok) find("sending").textContent = await answer.text();
  } catch {
    find("sending").textContent = "The receiver does not answer. Does it still run?";
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => press(button));
}
connect();
