//! The consumer with the SDK's own mocks, and with the events that the receiver's own code makes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::error::{ConditionalCheckFailedException, InternalServerError};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use consumer::{Consumer, Error, Handled};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");

fn event(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Path::new(EVENTS).join(file)).unwrap()).unwrap()
}

type Items = Arc<Mutex<Vec<HashMap<String, AttributeValue>>>>;

/// A consumer, and the table that its client writes to: the part of DynamoDB's PutItem that the consumer uses.
struct Cases {
    consumer: Consumer,
    items: Items,
}

impl Cases {
    /// `faults` failures come before the first write.
    fn new(faults: u32) -> Self {
        let items: Items = Arc::default();
        let (table, faults) = (items.clone(), Mutex::new(faults));
        let put = mock!(Client::put_item)
            .match_requests(|put| {
                put.table_name() == Some("cases")
                    && put.condition_expression() == Some("attribute_not_exists(event_id)")
            })
            .then_compute_response(move |put| {
                let mut faults = faults.lock().unwrap();
                if *faults > 0 {
                    *faults -= 1;
                    return MockResponse::Error(PutItemError::InternalServerError(
                        InternalServerError::builder().build(),
                    ));
                }
                let mut items = table.lock().unwrap();
                let item = put.item().unwrap();
                if items.iter().any(|stored| stored["event_id"] == item["event_id"]) {
                    return MockResponse::Error(PutItemError::ConditionalCheckFailedException(
                        ConditionalCheckFailedException::builder().build(),
                    ));
                }
                items.push(item.clone());
                MockResponse::Output(PutItemOutput::builder().build())
            });
        let dynamodb = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, [&put]);
        let consumer = Consumer {
            dynamodb,
            table: "cases".into(),
            days: 10,
        };
        Self { consumer, items }
    }

    async fn handle(&self, event: Value) -> Result<Handled, Error> {
        let payload = serde_json::from_value(event).unwrap();
        self.consumer
            .handle(LambdaEvent::new(payload, Context::default()))
            .await
    }

    /// One attribute of each case, by the case's type.
    fn attribute(&self, name: &str) -> BTreeMap<String, String> {
        let text = |value: &AttributeValue| value.as_s().unwrap().clone();
        self.items
            .lock()
            .unwrap()
            .iter()
            .map(|item| (text(&item["type"]), text(&item[name])))
            .collect()
    }
}

#[tokio::test]
async fn the_first_delivery_opens_a_case() {
    let cases = Cases::new(0);
    let sar = event("sar.submitted.guide.json");
    assert_eq!(cases.handle(sar.clone()).await.unwrap(), Handled::CaseOpened);
    let detail = &sar["detail"];
    let text = |text: &Value| AttributeValue::S(text.as_str().unwrap().to_owned());
    let item = [
        ("event_id", text(&json!("event-sar-submitted-guide"))),
        ("status", text(&json!("open"))),
        ("subject", text(&json!("SAR case_0017: pending_review"))),
        ("type", text(&json!("sar.submitted"))),
        ("alert", text(&json!("sar_submitted"))),
        ("session_id", text(&json!("session-xyz789"))),
        ("occurred_at", text(&detail["occurred_at"])),
        ("received_at", text(&detail["received_at"])),
        ("body", text(&detail["body"])),
        (
            "expires_at",
            AttributeValue::N((1_795_569_002 + 10 * 86_400).to_string()),
        ),
    ];
    let item: HashMap<_, _> = item.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(*cases.items.lock().unwrap(), [item]);
}

#[tokio::test]
async fn a_redelivery_changes_nothing() {
    let cases = Cases::new(0);
    let mut sar = event("sar.submitted.guide.json");
    cases.handle(sar.clone()).await.unwrap();
    cases.items.lock().unwrap()[0].insert("status".into(), AttributeValue::S("closed".into()));
    // EventBridge gives a new id of its own to an event that is published again.
    sar["id"] = json!("another");
    assert_eq!(cases.handle(sar).await.unwrap(), Handled::Repeated);
    let status = cases.attribute("status");
    assert_eq!(status, [("sar.submitted".to_owned(), "closed".to_owned())].into());
}

#[tokio::test]
async fn both_envelopes_open_a_case() {
    for envelope in [".guide.json", ".schema.json"] {
        let cases = Cases::new(0);
        for file in std::fs::read_dir(EVENTS).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.ends_with(envelope) {
                cases.handle(event(&name)).await.unwrap();
            }
        }
        let subjects = [
            ("deepfake.completed", "Voice is likely_synthetic, score 0.93"),
            ("mfa.failed", "Voice not verified: voice_mismatch"),
            ("sar.filed", "SAR case_0017: filed"),
            ("sar.submitted", "SAR case_0017: pending_review"),
        ];
        let subjects = subjects.map(|(event_type, subject)| (event_type.to_owned(), subject.to_owned()));
        assert_eq!(cases.attribute("subject"), subjects.into(), "{envelope}");
    }
}

#[tokio::test]
async fn a_failed_write_is_an_error_so_that_lambda_tries_again() {
    let cases = Cases::new(1);
    let filed = event("sar.filed.guide.json");
    let error = cases.handle(filed.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error:?}");
    assert!(cases.items.lock().unwrap().is_empty());
    assert_eq!(cases.handle(filed).await.unwrap(), Handled::CaseOpened);
}

#[tokio::test]
async fn a_new_type_opens_a_case() {
    let cases = Cases::new(0);
    cases.handle(event("new-type.json")).await.unwrap();
    assert_eq!(
        cases.attribute("subject")["sar.withdrawn"],
        "Event of type sar.withdrawn"
    );
}

#[tokio::test]
async fn an_event_with_missing_fields_opens_a_case() {
    for event_type in ["deepfake.completed", "mfa.failed", "sar.filed"] {
        let mut bare = event(&format!("{event_type}.guide.json"));
        bare["detail"]["body"] = json!(r#"{"data":{}}"#);
        assert_eq!(Cases::new(0).handle(bare).await.unwrap(), Handled::CaseOpened);
    }
}

#[tokio::test]
async fn an_event_without_its_body_goes_to_the_dead_letter_queue() {
    let error = Cases::new(0)
        .handle(event("without-body.json"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("GET /events/event-large"), "{error}");
}

#[tokio::test]
async fn an_odd_body_goes_to_the_dead_letter_queue() {
    for body in [
        "no JSON",
        "[]",
        "1",
        "null",
        "{}",
        r#"{"data":[]}"#,
        r#"{"data":null}"#,
    ] {
        let mut odd = event("sar.filed.guide.json");
        odd["detail"]["body"] = json!(body);
        let error = Cases::new(0).handle(odd).await.unwrap_err();
        assert!(matches!(error, Error::Body(..)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_detail_of_another_shape_goes_to_the_dead_letter_queue() {
    let good = event("sar.filed.guide.json");
    let mut odd = vec![json!(null), json!([]), json!({})];
    for name in good["detail"].as_object().unwrap().keys() {
        for value in [json!(null), json!(1)] {
            let mut detail = good["detail"].clone();
            detail[name] = value;
            odd.push(detail);
        }
    }
    for detail in odd {
        let mut event = good.clone();
        event["detail"] = detail;
        let error = Cases::new(0).handle(event).await.unwrap_err();
        assert!(matches!(error, Error::Detail(_)), "{error:?}");
    }
    let mut anonymous = good.clone();
    anonymous["detail"]["event_id"] = json!("");
    assert!(matches!(
        Cases::new(0).handle(anonymous).await.unwrap_err(),
        Error::NoId
    ));
    let mut timeless = good;
    timeless["detail"]["received_at"] = json!("now");
    assert!(matches!(
        Cases::new(0).handle(timeless).await.unwrap_err(),
        Error::Time(_)
    ));
}
