//! The table of event types: which fields a type has, and which values each field may hold (contract, section 1).
//!
//! The table leaves out three members that every type may have. Each is checked where the receiver uses it: the time
//! (`data.timestamp`), the index key (`data.session_id`) and the retention (`data.compliance.retention_period_days`).

/// An event type of the contract.
#[derive(Debug)]
pub struct EventType {
    /// The value of `type`: `deepfake.completed`.
    pub name: &'static str,
    /// True if an event of this type must have a `session_id`.
    pub has_session: bool,
    /// The other fields of `data`.
    pub fields: &'static [Field],
}

/// A field of `data`, or of an object in it.
#[derive(Debug)]
pub struct Field {
    /// The member's name.
    pub name: &'static str,
    /// True if a record without the field gets a problem.
    pub required: bool,
    /// The values that the field may hold.
    pub shape: Shape,
}

/// The values that a field may hold. Another value is a problem of the record, not a reason to reject it.
#[derive(Debug)]
pub enum Shape {
    /// A string.
    Text,
    /// A number that is not negative.
    Amount,
    /// A number from 0 to 1.
    Share,
    /// `true` or `false`.
    Bool,
    /// An object with any members.
    Object,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An object with these members, and any others.
    With(&'static [Field]),
}

const fn must(name: &'static str, shape: Shape) -> Field {
    let required = true;
    Field {
        name,
        required,
        shape,
    }
}

const fn may(name: &'static str, shape: Shape) -> Field {
    let required = false;
    Field {
        name,
        required,
        shape,
    }
}

/// Every event type of the contract, in the contract's order.
pub const EVENT_TYPES: &[EventType] = {
    use Shape::{Amount, Bool, Object, OneOf, Share, Text, With};
    &[
        EventType {
            name: "deepfake.completed",
            has_session: true,
            fields: &[
                must("score", Share),
                must("label", OneOf(&["likely_real", "likely_synthetic", "uncertain"])),
                may("confidence", Share),
                may(
                    "recommended_action",
                    OneOf(&["accept", "allow", "deny", "defer_to_review"]),
                ),
                may("latency_ms", Amount),
                may("audio_metadata", Object),
                may("analysis", Object),
            ],
        },
        EventType {
            name: "deepfake.failed",
            has_session: true,
            fields: &[must(
                "error",
                With(&[must("code", Text), may("message", Text), may("details", Object)]),
            )],
        },
        EventType {
            name: "mfa.completed",
            has_session: true,
            fields: &[
                must("enrollment_id", Text),
                must("verified", Bool),
                must("confidence", Share),
                may("user_id", Text),
                may("similarity_score", Share),
                may("liveness_score", Share),
                may("latency_ms", Amount),
                may("audio_metadata", Object),
                may("biometric_data", Object),
            ],
        },
        EventType {
            name: "mfa.failed",
            has_session: true,
            fields: &[
                may("enrollment_id", Text),
                may("verified", Bool),
                may("reason", Text),
                may("confidence", Share),
                may("similarity_score", Share),
                may("error", Object),
            ],
        },
        EventType {
            name: "mfa.enrollment.completed",
            has_session: false,
            fields: &[
                must("enrollment_id", Text),
                may("user_id", Text),
                may("status", Text),
                may("quality_score", Share),
                may("samples_processed", Amount),
                may("created_at", Text),
            ],
        },
        EventType {
            name: "sar.submitted",
            has_session: true,
            fields: &[
                must("case_id", Text),
                must("status", Text),
                may("decision", OneOf(&["allow", "deny", "review"])),
                may("reason", Text),
                may("submitted_at", Text),
                may("evidence", Object),
                may("compliance", Object),
            ],
        },
        EventType {
            name: "sar.filed",
            has_session: false,
            fields: &[
                must("case_id", Text),
                may("filing_reference", Text),
                may("filed_at", Text),
                may("authority", Text),
                may("status", Text),
            ],
        },
        EventType {
            name: "system.health_check",
            has_session: false,
            fields: &[
                may("status", Text),
                may("services", Object),
                may("response_times_ms", Object),
            ],
        },
    ]
};

/// The names of the contract's event types, in the contract's order.
pub fn known_types() -> impl Iterator<Item = &'static str> {
    EVENT_TYPES.iter().map(|event_type| event_type.name)
}

/// Looks up an event type by its name.
pub fn find(name: &str) -> Option<&'static EventType> {
    EVENT_TYPES.iter().find(|event_type| event_type.name == name)
}
