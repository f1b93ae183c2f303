/** The entry of the Lambda function. */

import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { consumer } from "./consumer.js";

export const handler = consumer(new DynamoDBClient(), {
  table: process.env["CASES_TABLE"] ?? "",
  days: Number(process.env["CASE_DAYS"]),
});
