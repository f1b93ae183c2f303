//! The secret, as far as this machine can read it.

use sonotheia_webhook::secrets::Stage;
use sonotheia_webhook::signature::Secret;

use super::report::{Found, Report, with_causes, wrong};
use crate::secret::{Place, Source, fetch};

const NAME: &str = "secret";

const PUT: &str = "`infra/rotate-secret put`, and register the same text with Sonotheia";

/// Checks the secret, and returns it if it can sign.
pub async fn check(source: &Source, region: Option<&str>, report: &mut Report) -> Option<Secret> {
    let (text, note) = match source.place() {
        Some(Place::Given(text)) => (text, "given, and not empty".to_owned()),
        Some(Place::Managed(id)) => managed(&id, region, report).await?,
        None => {
            let why = "no secret was given";
            report.add(
                NAME,
                Found::skipped(why, "--secret TEXT, --secret-id ID or SONOTHEIA_WEBHOOK_SECRET"),
            );
            return None;
        }
    };
    report.add(NAME, judge(&text, note));
    Secret::new(text).ok()
}

async fn managed(id: &str, region: Option<&str>, report: &mut Report) -> Option<(String, String)> {
    match fetch(id, Stage::Current, region).await {
        Ok(Some(text)) => {
            let previous = match fetch(id, Stage::Previous, region).await {
                Ok(Some(_)) => "it has a previous version, which the receiver accepts too",
                Ok(None) => "it has no previous version",
                Err(_) => "its previous version cannot be read",
            };
            Some((text, format!("{id} is readable and not empty; {previous}")))
        }
        Ok(None) => {
            let mend =
                "--secret-id takes the stack's output SecretArn, and --region or AWS_REGION its region";
            report.add(
                NAME,
                wrong(
                    format!("there is no secret {id} in this account and region"),
                    mend,
                ),
            );
            None
        }
        Err(failure) => {
            let mend = "store a string, or {\"webhook_secret\": \"…\"}, that these credentials may read";
            report.add(NAME, wrong(with_causes(&failure), mend));
            None
        }
    }
}

fn judge(text: &str, note: String) -> Found {
    if text.trim().is_empty() {
        return wrong("the secret is empty, so the receiver accepts no delivery", PUT);
    }
    let end = if text.ends_with(['\n', '\r']) {
        "a line break at its end, as `echo` and editors add one"
    } else if text.trim() != text {
        "blanks at its beginning or end"
    } else {
        return Found::Fine(note);
    };
    wrong(
        format!("the secret has {end}, which counts as a part of the key"),
        format!("store the secret without it, unless Sonotheia uses the same text: {PUT}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_line_breaks_at_the_ends_are_found() {
        for (text, says) in [
            ("a\n", "line break"),
            ("a\r\n", "line break"),
            (" a", "blanks"),
            (" \n", "empty"),
        ] {
            assert!(matches!(judge(text, String::new()), Found::Wrong { what, .. } if what.contains(says)));
        }
        assert!(matches!(judge("a b", String::new()), Found::Fine(_)));
    }
}
