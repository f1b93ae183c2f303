// The page: its rows, filters, keys and links.

import { element, find } from "./text.js";
import { ask, follow, Older, order, poll, recordOf } from "./source.js";
import { Filter, button, isNewer, keyOf, linkOf, summary } from "./rows.js";
import { fill } from "./detail.js";
import { watchKeys } from "./keys.js";

// So many rows are in the document; the button below shows more.
const STEP = 200;
const LISTED = ["accepted", "duplicate", "conflict", "rejected", "invalid signature", "too large", "unreadable", "unavailable", "internal"];

const list = find("deliveries");
const filter = new Filter();
let about = { run: "", table: null, started_at: "", kept: 5000 };
// All rows, newest first, and by their keys.
let rows = [];
const byKey = new Map();
// The events that a delivery of this process stored: their records are no second row.
const stored = new Set();
const items = new Map();
let counts = { all: 0, accepted: 0, duplicate: 0, refused: 0, alerts: 0 };
let held = [];
let isPaused = false;
let cleared = null;
let shown = STEP;
let older = null;
let awaited = "";

// Beside a receiver, the counts are about the deliveries of this process, and not about older records.
function count(row) {
  if (!row.n && !about.table) return;
  counts.all = row.n ? Math.max(counts.all, row.n) : counts.all + 1;
  const kind = { accepted: "accepted", duplicate: "duplicate" }[row.outcome] || "refused";
  counts[kind] += 1;
  if (row.alert) counts.alerts += 1;
}

function showCounts() {
  for (const [name, number] of Object.entries(counts)) find("count-" + name).textContent = number.toLocaleString("en");
  find("pause").textContent = held.length > 0 ? `Resume (${held.length} new)` : isPaused ? "Resume" : "Pause";
}

// Takes rows in; true if there is a new one.
function take(arrived) {
  let isNew = false;
  for (const row of arrived) {
    const key = keyOf(row);
    if (byKey.has(key) || (!row.n && stored.has(row.event_id)) || (cleared && !isNewer(row, cleared))) continue;
    byKey.set(key, row);
    if (row.n && row.outcome === "accepted") {
      stored.add(row.event_id);
      drop(byKey.get(`r${row.event_id}`));
    }
    const place = rows.findIndex((other) => !isNewer(other, row));
    rows.splice(place < 0 ? rows.length : place, 0, row);
    count(row);
    isNew = true;
  }
  // The inspector keeps no more, either. Records that a person asked for stay.
  while (rows.length > about.kept * 2) byKey.delete(keyOf(rows.pop()));
  return isNew;
}

function drop(row) {
  if (!row) return;
  byKey.delete(keyOf(row));
  rows.splice(rows.indexOf(row), 1);
}

// Takes new rows in, or holds them while the page is paused; true if there is a new one.
function arrived(news) {
  if (isPaused) {
    held.push(...news);
    held = held.slice(-about.kept);
    showCounts();
    return true;
  }
  if (!take(news)) return false;
  if (news.length === 1) find("news").textContent = summary(news[0]);
  if (filter.text) searchBodies();
  schedule();
  return true;
}

let isScheduled = false;
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  // A hidden page has no animation frames.
  (document.hidden ? setTimeout : requestAnimationFrame)(() => {
    isScheduled = false;
    render();
  });
}

function render() {
  const passing = rows.filter((row) => filter.passes(row));
  const wanted = passing.slice(0, shown).map((row) => itemOf(row));
  const kept = new Set(wanted);
  for (const item of [...list.children]) if (!kept.has(item)) item.remove();
  wanted.forEach((item, n) => {
    if (list.children[n] !== item) list.insertBefore(item, list.children[n] || null);
  });
  for (const [key, item] of items) if (!kept.has(item)) items.delete(key);
  find("empty").hidden = passing.length > 0;
  find("empty").textContent = rows.length > 0 ? "No delivery passes the filter." : emptyText();
  find("reset").hidden = !filter.isSet && !cleared;
  find("more").hidden = passing.length <= shown && (!older || older.isDone);
  showEnd(passing.length);
  showCounts();
  showTypes();
  openAwaited();
}

function emptyText() {
  if (cleared) return "Cleared. New deliveries appear here.";
  if (about.table) return "The table has no record.";
  return "No delivery yet. Send a sample, or point the sender at the address above.";
}

function showEnd(passing) {
  const of = passing === rows.length ? "" : ` of ${rows.length}`;
  const end = older && older.isDone ? "The table has no older record." : "";
  find("end").textContent = passing > 0 ? `${Math.min(shown, passing)}${of} shown. ${end}` : end;
}

function itemOf(row) {
  const key = keyOf(row);
  if (!items.has(key)) items.set(key, makeItem(row, key));
  return items.get(key);
}

function makeItem(row, key) {
  const item = element("li");
  item.dataset.key = key;
  item.dataset.outcome = row.outcome;
  item.classList.toggle("alert", Boolean(row.alert));
  item.classList.toggle("past", !row.n && !about.table);
  // Only a row that comes while a person looks should catch the eye.
  item.classList.toggle("new", Date.now() - Date.parse(row.received_at) < 2000);
  const opener = button(row);
  const place = element("div", undefined, "detail");
  place.id = "detail-" + key;
  place.hidden = true;
  opener.setAttribute("aria-controls", place.id);
  opener.addEventListener("click", () => (place.hidden ? open(item, row) : close(item)));
  item.append(opener, place);
  return item;
}

function open(item, row, known) {
  const place = item.lastElementChild;
  for (const other of list.querySelectorAll("li.open")) if (other !== item) close(other);
  place.hidden = false;
  item.classList.add("open");
  item.firstElementChild.setAttribute("aria-expanded", "true");
  history.replaceState(null, "", linkOf(row, about.run));
  fill(place, row, { run: about.run, only: onlySession, known });
}

function close(item) {
  const place = item.lastElementChild;
  place.hidden = true;
  place.replaceChildren();
  item.classList.remove("open");
  item.firstElementChild.setAttribute("aria-expanded", "false");
  history.replaceState(null, "", location.pathname);
}

// --- filters

function onlySession(session) {
  find("session").value = session;
  filtered();
}

async function searchBodies() {
  const { text } = filter;
  if (!text || about.table) return;
  const found = await ask(`/inspector/search?text=${encodeURIComponent(text)}`).catch(() => []);
  if (filter.text !== text) return;
  filter.bodies = new Set(found);
  schedule();
}

let typing;
function filtered() {
  filter.text = find("text").value.trim();
  filter.outcome = find("outcome").value;
  filter.type = find("type").value;
  filter.session = find("session").value.trim();
  filter.bodies = new Set();
  shown = STEP;
  render();
  clearTimeout(typing);
  typing = setTimeout(searchBodies, 150);
}

function showAll() {
  for (const id of ["text", "outcome", "type", "session"]) find(id).value = "";
  if (cleared) location.reload();
  else filtered();
}

const types = new Set();
function addType(name) {
  if (!name || types.has(name) || types.size >= 200) return;
  types.add(name);
  const option = element("option", name);
  option.value = name;
  find("type").append(option);
}

function showTypes() {
  for (const row of rows.slice(0, STEP)) addType(row.type);
}

// --- older records

function startOlder() {
  older = new Older(about.history_to);
}

async function more() {
  const isLoaded = rows.filter((row) => filter.passes(row)).length > shown;
  shown += STEP;
  if (isLoaded) render();
  else await load();
}

async function load() {
  find("more").setAttribute("aria-disabled", "true");
  try {
    take(await older.next());
    render();
  } catch (failure) {
    find("end").textContent = failure.message;
  } finally {
    find("more").removeAttribute("aria-disabled");
  }
}

// --- links

function hash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

// Opens the row that the address names, once it is there.
function openAwaited() {
  if (!awaited) return;
  const live = awaited.startsWith(`delivery-${about.run}-`) ? `d${awaited.split("-").at(-1)}` : "";
  const row = byKey.get(live) || rows.find((row) => row.event_id === awaited && (!row.n || row.outcome === "accepted"));
  if (row) reveal(row);
}

function reveal(row, known) {
  awaited = "";
  if (!filter.passes(row)) {
    for (const id of ["text", "outcome", "type", "session"]) find(id).value = "";
    filtered();
  }
  const place = rows.indexOf(row);
  if (place >= shown) shown = place + STEP;
  render();
  const item = itemOf(row);
  open(item, row, known);
  item.firstElementChild.focus({ preventScroll: true });
  item.scrollIntoView({ block: "start" });
}

async function followLink() {
  awaited = hash();
  if (!awaited || awaited === "deliveries") return (awaited = "");
  openAwaited();
  if (!awaited || awaited.startsWith("delivery-")) return;
  // The record may be older than those that the page has.
  const known = await recordOf(awaited).catch(() => null);
  if (!known || known.row.event_id !== awaited) return;
  // The stream is about to bring the delivery of this record.
  if (about.history_to && known.row.received_at > about.history_to) return;
  take([known.row]);
  const row = rows.find((row) => row.event_id === awaited);
  if (row) reveal(row, row.n ? undefined : known);
}

// --- buttons

function pause() {
  isPaused = !isPaused;
  find("pause").setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) {
    const news = held;
    held = [];
    arrived(news);
  }
  showCounts();
}

function clear() {
  cleared = rows[0] || cleared;
  forget();
  older = null;
  render();
}

function forget() {
  rows = [];
  held = [];
  byKey.clear();
  stored.clear();
  items.clear();
  list.replaceChildren();
  counts = { all: 0, accepted: 0, duplicate: 0, refused: 0, alerts: 0 };
}

async function press(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const wanted = { what: button.dataset.what };
  if (button.dataset.type) wanted.type = button.dataset.type;
  if (wanted.what === "sample" || wanted.what === "all") wanted.envelope = find("envelope").value;
  button.setAttribute("aria-disabled", "true");
  find("sending").textContent = "";
  await order("/inspector/send", wanted).catch((failure) => (find("sending").textContent = failure.message));
  button.removeAttribute("aria-disabled");
}

// --- start

function state(text, name) {
  find("connection").textContent = text;
  find("connection").className = "connection " + name;
}

// Another process has other deliveries; what was signed is in its table.
async function began(run) {
  if (run === about.run && older) return;
  if (about.run && run !== about.run) forget();
  about = await ask("/inspector/about");
  startOlder();
  await load();
}

function listen() {
  find("filters").addEventListener("input", filtered);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    showAll();
  });
  find("pause").addEventListener("click", pause);
  find("clear").addEventListener("click", clear);
  find("more").addEventListener("click", more);
  for (const button of find("panel").querySelectorAll("button")) button.addEventListener("click", () => press(button));
  watchKeys({ list, close, filtered });
  addEventListener("hashchange", followLink);
}

async function start() {
  for (const outcome of LISTED) {
    const option = element("option", outcome);
    option.value = outcome;
    find("outcome").append(option);
  }
  listen();
  about = await ask("/inspector/about");
  about.types.forEach(addType);
  const address = find("address");
  if (about.table) {
    address.append("table ", element("code", about.table), ", read only");
    document.body.classList.add("read-only");
    find("deliveries-title").textContent = "Records";
    find("text").placeholder = "Search id, problem …";
    startOlder();
    await load();
    poll({ state, newest: () => (rows[0] || cleared)?.received_at, isPaused: () => isPaused, arrived });
  } else {
    address.append("POST ", element("code", location.origin + "/webhook"));
    find("panel").hidden = false;
    follow({ state, run: began, arrived: (row) => arrived([row]) });
  }
  followLink();
}

start().catch((failure) => state(failure.message, "off"));
