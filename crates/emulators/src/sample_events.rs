//! Sample events: each type of the contract's section 1 in both envelopes, without problems.

use serde_json::{Value, json};

use sonotheia_webhook::timestamp::Timestamp;

/// The two envelopes of an event (contract, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Envelope {
    /// The guide's envelope: `type`, `id`, `data.timestamp`.
    Guide,
    /// The schema page's envelope: `event_type`, `event_id`, `timestamp`, `api_version`, `metadata`.
    Schema,
}

/// Makes an event of a type. Returns `None` if the contract does not list the type.
///
/// `time` is the signed time. `session_id` goes into the types that have a session.
pub fn event(
    event_type: &str,
    envelope: Envelope,
    id: &str,
    session_id: &str,
    time: Timestamp,
) -> Option<Value> {
    let time = time.to_string();
    let mut data = data(event_type, session_id, &time)?;
    Some(match envelope {
        Envelope::Guide => {
            data["timestamp"] = time.into();
            json!({"type": event_type, "id": id, "data": data})
        }
        Envelope::Schema => json!({
            "event_type": event_type,
            "event_id": id,
            "timestamp": time,
            "api_version": "v1",
            "data": data,
            "metadata": {"environment": "sandbox", "source": "sonotheia send"},
        }),
    })
}

fn data(event_type: &str, session_id: &str, time: &str) -> Option<Value> {
    let audio = json!({"format": "wav", "sample_rate_hz": 16_000, "channels": 1, "duration_seconds": 7.4});
    Some(match event_type {
        "deepfake.completed" => json!({
            "session_id": session_id,
            "score": 0.93,
            "label": "likely_synthetic",
            "confidence": 0.88,
            "recommended_action": "defer_to_review",
            "latency_ms": 742,
            "audio_metadata": audio,
            "analysis": {"model": "sonotheia-detect", "segments": [{"start": 0.0, "end": 7.4, "score": 0.93}]},
        }),
        "deepfake.failed" => json!({
            "session_id": session_id,
            "error": {
                "code": "audio_too_short",
                "message": "The audio has less than 2 seconds of speech",
                "details": {"speech_seconds": 0.8},
            },
        }),
        "mfa.completed" => json!({
            "session_id": session_id,
            "enrollment_id": "enr_5f0c2a91",
            "user_id": "usr_204418",
            "verified": true,
            "confidence": 0.97,
            "similarity_score": 0.94,
            "liveness_score": 0.98,
            "latency_ms": 615,
            "audio_metadata": audio,
            "biometric_data": {"template_version": 3},
        }),
        "mfa.failed" => json!({
            "session_id": session_id,
            "enrollment_id": "enr_5f0c2a91",
            "verified": false,
            "reason": "voice_mismatch",
            "confidence": 0.91,
            "similarity_score": 0.22,
            "error": {"code": "similarity_below_threshold"},
        }),
        "mfa.enrollment.completed" => json!({
            "enrollment_id": "enr_5f0c2a91",
            "user_id": "usr_204418",
            "status": "active",
            "quality_score": 0.96,
            "samples_processed": 3,
            "created_at": time,
        }),
        "sar.submitted" => json!({
            "session_id": session_id,
            "case_id": "case_0017",
            "status": "pending_review",
            "decision": "review",
            "reason": "A synthetic voice asked for a transfer",
            "submitted_at": time,
            "evidence": {"deepfake_score": 0.93, "transaction_id": "txn_77120"},
            "compliance": {"regulation": "BSA", "retention_period_days": 1825},
        }),
        "sar.filed" => json!({
            "case_id": "case_0017",
            "filing_reference": "BSA-31000098",
            "filed_at": time,
            "authority": "FinCEN",
            "status": "filed",
        }),
        "system.health_check" => json!({
            "status": "healthy",
            "services": {"deepfake": "up", "mfa": "up", "sar": "up"},
            "response_times_ms": {"deepfake": 41, "mfa": 38, "sar": 12},
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotheia_webhook::event::Event;
    use sonotheia_webhook::event::types::known_types;

    const TIME: Timestamp = Timestamp::from_millis(1_769_000_400_123);

    #[test]
    fn every_known_type_is_an_event_without_problems_in_both_envelopes() {
        for event_type in known_types() {
            for envelope in [Envelope::Guide, Envelope::Schema] {
                let body = event(event_type, envelope, "evt_1", "sess_1", TIME)
                    .expect("a sample")
                    .to_string();
                let event = Event::parse(body.as_bytes(), 0.8).expect("an event");
                assert_eq!(event.problems, [], "{body}");
                assert_eq!(event.id.as_deref(), Some("evt_1"), "{body}");
                assert_eq!(event.event_type, event_type);
                assert_eq!(event.occurred_at, Some(TIME), "{body}");
            }
        }
    }

    #[test]
    fn an_unknown_type_has_no_sample() {
        assert_eq!(
            event("deepfake.started", Envelope::Guide, "evt_1", "sess_1", TIME),
            None
        );
    }
}
