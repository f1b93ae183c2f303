/** A table on a loopback port: the part of DynamoDB's PutItem that the consumer uses. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { type AttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb";

type Item = Record<string, AttributeValue>;
const CONDITION_FAILED = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";

/** Starts the table, which ends with the test. `faults` failures come before the first answer. */
export async function table(test: TestContext, faults = 0): Promise<{ client: DynamoDBClient; items: Item[] }> {
  const items: Item[] = [];
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: object) => {
      response.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(body));
    };
    let text = "";
    for await (const chunk of request) text += chunk;
    const { TableName, Item, ConditionExpression } = JSON.parse(text);
    const isPut = request.headers["x-amz-target"] === "DynamoDB_20120810.PutItem";
    if (!isPut || TableName !== "cases" || ConditionExpression !== "attribute_not_exists(event_id)") {
      return answer(400, { __type: "ValidationException", message: text });
    }
    if (faults-- > 0) return answer(500, { __type: "InternalServerError", message: "a fault of the test" });
    if (items.some((item) => item["event_id"]?.S === Item.event_id.S)) {
      return answer(400, { __type: CONDITION_FAILED, message: "The conditional request failed" });
    }
    items.push(Item);
    answer(200, {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new DynamoDBClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: "eu-central-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
    maxAttempts: 1,
  });
  test.after(() => {
    client.destroy();
    server.close();
  });
  return { client, items };
}
