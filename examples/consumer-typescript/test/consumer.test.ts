/** The consumer with a real client, and with the events that the receiver's own code makes. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import type { EventBridgeEvent } from "aws-lambda";
import { consumer, type Detail, UnreadableEvent } from "../src/consumer.js";
import { table } from "./dynamodb.js";

// From build/test, where the compiled test is.
const EVENTS = new URL("../../../events/", import.meta.url);
const SETTINGS = { table: "cases", days: 10 };

function event(file: string): EventBridgeEvent<string, Detail> {
  return JSON.parse(readFileSync(new URL(file, EVENTS), "utf8"));
}

test("the first delivery opens a case", async (context) => {
  const { client, items } = await table(context);
  const sar = event("sar.submitted.guide.json");
  await consumer(client, SETTINGS)(sar);
  assert.deepEqual(items, [
    {
      event_id: { S: "event-sar-submitted-guide" },
      status: { S: "open" },
      subject: { S: "SAR case_0017: pending_review" },
      type: { S: "sar.submitted" },
      alert: { S: "sar_submitted" },
      session_id: { S: "session-xyz789" },
      occurred_at: { S: sar.detail.occurred_at },
      received_at: { S: sar.detail.received_at },
      body: { S: sar.detail.body },
      expires_at: { N: String(1_795_569_002 + 10 * 86_400) },
    },
  ]);
});

test("a redelivery changes nothing", async (context) => {
  const { client, items } = await table(context);
  const handler = consumer(client, SETTINGS);
  const sar = event("sar.submitted.guide.json");
  await handler(sar);
  items[0]!["status"] = { S: "closed" };
  // EventBridge gives a new id of its own to an event that is published again.
  await handler({ ...sar, id: "another" });
  assert.deepEqual(items.map((item) => item["status"]), [{ S: "closed" }]);
});

for (const envelope of ["guide", "schema"]) {
  test(`the envelope of the ${envelope} opens a case`, async (context) => {
    const { client, items } = await table(context);
    for (const file of readdirSync(EVENTS).filter((name) => name.endsWith(`.${envelope}.json`))) {
      await consumer(client, SETTINGS)(event(file));
    }
    assert.deepEqual(Object.fromEntries(items.map((item) => [item["type"]?.S, item["subject"]?.S])), {
      "deepfake.completed": "Voice is likely_synthetic, score 0.93",
      "mfa.failed": "Voice not verified: voice_mismatch",
      "sar.filed": "SAR case_0017: filed",
      "sar.submitted": "SAR case_0017: pending_review",
    });
  });
}

test("a failed write rejects, so that Lambda tries again", async (context) => {
  const { client, items } = await table(context, 1);
  const handler = consumer(client, SETTINGS);
  await assert.rejects(handler(event("sar.filed.guide.json")), { name: "InternalServerError" });
  assert.equal(items.length, 0);
  await handler(event("sar.filed.guide.json"));
  assert.equal(items.length, 1);
});

test("a new type opens a case", async (context) => {
  const { client, items } = await table(context);
  await consumer(client, SETTINGS)(event("new-type.json"));
  assert.deepEqual(items.map((item) => item["subject"]), [{ S: "Event of type sar.withdrawn" }]);
});

test("an event with missing fields opens a case", async (context) => {
  const { client, items } = await table(context);
  for (const type of ["deepfake.completed", "mfa.failed", "sar.filed"]) {
    const bare = event(`${type}.guide.json`);
    bare.detail.body = '{"data":{}}';
    await consumer(client, SETTINGS)(bare);
  }
  assert.equal(items.length, 3);
});

test("an event without its body goes to the dead-letter queue", async (context) => {
  const { client, items } = await table(context);
  await assert.rejects(consumer(client, SETTINGS)(event("without-body.json")), /GET \/events\/event-large/);
  assert.equal(items.length, 0);
});

test("an odd body goes to the dead-letter queue", async (context) => {
  const { client, items } = await table(context);
  for (const body of ["no JSON", "[]", "1", "null", "{}", '{"data":[]}', '{"data":null}']) {
    const odd = event("sar.filed.guide.json");
    odd.detail.body = body;
    await assert.rejects(consumer(client, SETTINGS)(odd), UnreadableEvent, body);
  }
  assert.equal(items.length, 0);
});

test("a detail of another shape goes to the dead-letter queue", async (context) => {
  const { client, items } = await table(context);
  const good = event("sar.filed.guide.json");
  const odd: unknown[] = [undefined, null, [], { ...good.detail, event_id: "" }, { ...good.detail, received_at: "now" }];
  for (const name of Object.keys(good.detail)) {
    for (const value of [undefined, null, 1]) odd.push({ ...good.detail, [name]: value });
  }
  for (const detail of odd) {
    await assert.rejects(consumer(client, SETTINGS)({ ...good, detail } as typeof good), UnreadableEvent);
  }
  assert.equal(items.length, 0);
});
