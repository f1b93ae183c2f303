// Where rows come from: the stream of deliveries, and the records of the table.

// Asks the inspector, and reads its JSON. The text of an error is the inspector's own.
export async function ask(path) {
  const answer = await fetch(path);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `The inspector answered ${answer.status}.`);
  return body;
}

// Makes the inspector do something.
export async function order(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The receiver does not answer. Does it still run?");
  }
  if (answer.ok) return;
  const failed = await answer.json().catch(() => ({}));
  throw new Error(failed.error || `The inspector answered ${answer.status}.`);
}

// An id is in the query, since a browser resolves the ids `.` and `..` in a path.
const path = (row, part = "") =>
  row.n ? `/inspector/deliveries/${row.n}${part}` : `/inspector/record${part}?id=${encodeURIComponent(row.event_id)}`;

export const detailOf = (row) => ask(path(row));
export const bodyPath = (row) => path(row, "/body");
export const recordOf = (eventId) => detailOf({ event_id: eventId });

// The deliveries of this process, as they come.
export function follow({ state, run, arrived }) {
  const stream = new EventSource("/inspector/deliveries");
  stream.addEventListener("open", () => state("live", "on"));
  stream.addEventListener("error", () => {
    state("no connection; trying again", "off");
    // After some failures the browser gives up.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => follow({ state, run, arrived }), 2000);
  });
  stream.addEventListener("run", (message) => run(message.data));
  stream.addEventListener("message", (message) => arrived(JSON.parse(message.data)));
}

const EVERY = 3000;
// A record may appear in the index this long after its time of receipt.
const LATE = 60000;
const MOST_PAGES = 50;

// New records of a table, by polling: nothing is asked while nobody looks at the page.
export function poll({ state, newest, isPaused, arrived }) {
  const look = async () => {
    const from = newest();
    const since = from ? `&from=${new Date(Date.parse(from) - LATE).toISOString()}` : "";
    let cursor = "";
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const { rows, next } = await ask(`/inspector/records?limit=100${since}${cursor}`);
      // Records are newest first, so after a page without a new one there are hardly any.
      if (!arrived(rows) || !next || !since) return;
      cursor = `&cursor=${encodeURIComponent(next)}`;
    }
  };
  const again = async () => {
    if (!document.hidden && !isPaused()) {
      try {
        await look();
        state("live", "on");
      } catch (failure) {
        state(failure instanceof TypeError ? "no connection; trying again" : failure.message, "off");
      }
    }
    setTimeout(again, EVERY);
  };
  again();
}

// Older records, page by page. `to` is the newest time of receipt on the first page.
export class Older {
  constructor(to) {
    this.query = `limit=100${to ? `&to=${encodeURIComponent(to)}` : ""}`;
    this.cursor = "";
    this.isDone = false;
  }

  async next() {
    // A page may be empty although there are more records.
    for (let page = 0; page < MOST_PAGES && !this.isDone; page += 1) {
      const { rows, next } = await ask(`/inspector/records?${this.query}${this.cursor}`);
      this.isDone = !next;
      this.cursor = next ? `&cursor=${encodeURIComponent(next)}` : "";
      if (rows.length > 0) return rows;
    }
    return [];
  }
}
