/** Opens a case for each SAR event and each alert of Sonotheia, at most once for each event. */

import { ConditionalCheckFailedException, type DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import type { EventBridgeEvent } from "aws-lambda";

/** The published event. Every member is always there, and always a string; "" means that the event has none. */
export interface Detail {
  event_id: string;
  type: string;
  session_id: string;
  outcome: string;
  alert: string;
  occurred_at: string;
  received_at: string;
  body: string;
}

const MEMBERS: Record<keyof Detail, true> = {
  event_id: true,
  type: true,
  session_id: true,
  outcome: true,
  alert: true,
  occurred_at: true,
  received_at: true,
  body: true,
};

export interface Settings {
  table: string;
  /** Days that a case is kept after the receipt of its event. */
  days: number;
}

/** The event cannot become a case. Lambda tries it again, then puts it into the dead-letter queue. */
export class UnreadableEvent extends Error {
  override name = "UnreadableEvent";
}

type Data = Record<string, unknown>;
type Result = "opened" | "repeated" | "not needed";

/** Makes the function's handler. A rejected promise makes Lambda try the event again. */
export function consumer(dynamodb: DynamoDBClient, settings: Settings) {
  return async (event: EventBridgeEvent<string, unknown>): Promise<void> => {
    const detail = read(event.detail);
    const result = isCase(detail) ? await openCase(dynamodb, settings, detail) : "not needed";
    console.info({ event_id: detail.event_id, type: detail.type, case: result });
  };
}

/** Checks the members of the detail, so that the rest of the code can rely on them. */
function read(detail: unknown): Detail {
  if (!isObject(detail) || !Object.keys(MEMBERS).every((name) => typeof detail[name] === "string")) {
    throw new UnreadableEvent(`the detail needs the strings ${Object.keys(MEMBERS).join(", ")}: is this Sonotheia's bus?`);
  }
  if (detail["event_id"] === "") throw new UnreadableEvent("event_id is empty");
  return detail as unknown as Detail;
}

/** A person must look at every SAR event and at every alert. New types of Sonotheia pass here, too. */
function isCase(detail: Detail): boolean {
  return detail.type.startsWith("sar.") || detail.alert !== "";
}

/** Stores the case with one conditional write, so that a repeated event changes nothing. */
async function openCase(dynamodb: DynamoDBClient, settings: Settings, detail: Detail): Promise<Result> {
  const { outcome: _, ...copied } = detail;
  const texts = { ...copied, status: "open", subject: subject(detail.type, dataOf(detail)) };
  const present = Object.entries(texts).filter(([, text]) => text !== "");
  const expires = Math.floor(Date.parse(detail.received_at) / 1000) + settings.days * 86_400;
  if (Number.isNaN(expires)) throw new UnreadableEvent(`received_at is no time: ${detail.received_at}`);
  const write = new PutItemCommand({
    TableName: settings.table,
    Item: { ...Object.fromEntries(present.map(([name, S]) => [name, { S }])), expires_at: { N: `${expires}` } },
    ConditionExpression: "attribute_not_exists(event_id)",
  });
  try {
    await dynamodb.send(write);
    return "opened";
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return "repeated";
    throw error;
  }
}

/** Parses the signed text. Its two envelopes name the id and the type differently, and both have `data`. */
function dataOf({ event_id, body }: Detail): Data {
  if (body === "") throw new UnreadableEvent(`the bus had no room for the body: read it with GET /events/${event_id}`);
  let event: unknown;
  try {
    event = JSON.parse(body);
  } catch (cause) {
    throw new UnreadableEvent(`the body of event ${event_id} is not JSON`, { cause });
  }
  if (!isObject(event) || !isObject(event["data"])) throw new UnreadableEvent(`event ${event_id} has no data`);
  return event["data"];
}

/** One line for the person. Any field can be missing: the receiver stores an event with problems, too. */
function subject(type: string, data: Data): string {
  switch (type) {
    case "deepfake.completed":
      return `Voice is ${data["label"] ?? "unrated"}, score ${data["score"] ?? "unknown"}`;
    case "mfa.completed":
    case "mfa.failed":
      return `Voice not verified: ${data["reason"] ?? "no reason given"}`;
    case "sar.submitted":
    case "sar.filed":
      return `SAR ${data["case_id"] ?? "without a case id"}: ${data["status"] ?? "no status"}`;
    default:
      return `Event of type ${type}`;
  }
}

function isObject(value: unknown): value is Data {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
