//! The path that the router gets, from the path and the resource that a front sends.
//!
//! `tests/events/README.md` has the sources of these facts:
//!
//! - REST APIs, ALBs and function URLs pass the path on as the client spelled it. HTTP APIs decode it.
//! - REST APIs and HTTP APIs name the resource that they matched. They checked the caller by it, so it is the route.
//! - A custom domain's base path, or the stage, may precede the resource in the path.
//!
//! No rule here resolves a dot segment or decodes an escape.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};

use crate::router::ID_PREFIXES;

/// The template's resource for every path that is not a route.
///
/// API Gateway checks the caller by the resource that it matched, and this resource is open to anybody. So a path that
/// API Gateway matched with it stays unknown, even if the router would find a route for it.
pub const UNKNOWN_RESOURCE: &str = "/{unknown+}";

/// A path without a route.
const NOWHERE: &str = "/unknown";

/// The routes that are open to anybody.
const OPEN: [&str; 2] = ["/webhook", "/health"];

/// The characters that no encoded path has.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The same for a path that the front has decoded: a `%` is data there.
const IN_DECODED_PATH: &AsciiSet = &IN_PATH.add(b'%');

/// The characters that are data in an id.
const IN_ID: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path as a front sends it.
pub struct Sent<'a> {
    /// The path.
    pub path: &'a str,
    /// True if the front has decoded the path.
    pub decoded: bool,
    /// The stage, if the front may put its name in front of the path.
    pub stage: Option<String>,
    /// The resource that the front matched, such as `/results/{session_id}`.
    pub resource: Option<String>,
}

impl Sent<'_> {
    /// The encoded path for the router. `parameter` returns the value that the front gives to a parameter of the resource.
    pub fn route(&self, parameter: impl Fn(&str) -> Option<String>) -> String {
        match self.resource.as_deref() {
            None => self.encode(self.below_stage()),
            Some(UNKNOWN_RESOURCE) => NOWHERE.to_owned(),
            Some(resource) => self
                .matched(resource, parameter)
                .unwrap_or_else(|| self.unmatched(resource)),
        }
    }

    /// The route of a resource that the path matches.
    fn matched(&self, resource: &str, parameter: impl Fn(&str) -> Option<String>) -> Option<String> {
        let path = without_slash(self.path);
        let Some((literal, name)) = resource.split_once('{') else {
            return below_base(path, resource)
                .map(|()| percent_encode(resource.as_bytes(), IN_PATH).to_string());
        };
        let name = name.strip_suffix('}')?;
        if let Some(name) = name.strip_suffix('+') {
            let rest = parameter(name)?;
            let rest = rest.trim_start_matches('/');
            below_base(path, &format!("{literal}{}", without_slash(rest)))?;
            return Some(self.encode(&format!("/{rest}")));
        }
        let id = if self.decoded {
            // A slash in the id looks like any other slash, so the id is the whole rest. Only the parameter tells a slash at
            // the end of the id from the ignored slash at the end of the path.
            let is_rest = |id: &String| {
                let tail = format!("{literal}{id}");
                below_base(self.path, &tail).or(below_base(path, &tail)).is_some()
            };
            parameter(name)
                .filter(is_rest)
                .or_else(|| rest_below_base(path, literal).map(str::to_owned))?
        } else {
            let (_, id) = path.rsplit_once('/')?;
            below_base(path, &format!("{literal}{id}"))?;
            id.to_owned()
        };
        (!id.is_empty()).then(|| format!("{literal}{}", self.encode_id(&id)))
    }

    /// The route of a path that its resource does not match. No front sends such an event, so somebody made it by hand.
    /// It must not reach more than the resource allows: the routes that are open to anybody, or every route behind a
    /// resource that matches every path.
    fn unmatched(&self, resource: &str) -> String {
        let path = self.below_stage();
        if resource.ends_with("+}") || OPEN.contains(&without_slash(path)) {
            self.encode(path)
        } else {
            NOWHERE.to_owned()
        }
    }

    /// The path without the stage's name.
    fn below_stage(&self) -> &str {
        self.stage
            .as_deref()
            .and_then(|stage| self.path.strip_prefix('/')?.strip_prefix(stage))
            .filter(|below| below.starts_with('/'))
            .unwrap_or(self.path)
    }

    /// Encodes a path that the front has decoded. In any other path, encodes the characters that no encoded path has.
    fn encode(&self, path: &str) -> String {
        if !self.decoded {
            return percent_encode(path.as_bytes(), IN_PATH).to_string();
        }
        let id = |prefix: &'static str| Some((prefix, without_slash(path).strip_prefix(prefix)?));
        match ID_PREFIXES.into_iter().find_map(id) {
            Some((prefix, id)) if !id.is_empty() => format!("{prefix}{}", self.encode_id(id)),
            _ => percent_encode(path.as_bytes(), IN_DECODED_PATH).to_string(),
        }
    }

    fn encode_id(&self, id: &str) -> String {
        let set = if self.decoded { IN_ID } else { IN_PATH };
        percent_encode(id.as_bytes(), set).to_string()
    }
}

/// A path without one slash at its end.
fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Returns `()` if the path is `tail` below a base path.
fn below_base(path: &str, tail: &str) -> Option<()> {
    path.strip_suffix(tail).filter(|base| is_base(base)).map(|_| ())
}

/// Returns the text after `literal`, if a base path or nothing precedes it.
fn rest_below_base<'a>(path: &'a str, literal: &str) -> Option<&'a str> {
    let mut places = path.match_indices(literal);
    let (at, _) = places.find(|(at, _)| is_base(&path[..*at]))?;
    Some(&path[at + literal.len()..])
}

/// Returns true for a base path of a custom domain, or for no base path. A base path has no empty segments, no dot
/// segments and nothing to encode.
fn is_base(base: &str) -> bool {
    let mut segments = base.split('/');
    segments.next() == Some("")
        && segments.all(|segment| !matches!(segment, "" | "." | "..") && !segment.contains('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The route of a path that the front matched with a resource. `value` is the value of every parameter.
    fn route(path: &str, decoded: bool, resource: Option<&str>, value: Option<&str>) -> String {
        let stage = decoded.then(|| "live".to_owned());
        let resource = resource.map(str::to_owned);
        let sent = Sent {
            path,
            decoded,
            stage,
            resource,
        };
        sent.route(|_| value.map(str::to_owned))
    }

    #[test]
    fn without_a_resource_the_path_is_the_route() {
        for (path, expected) in [
            ("/webhook", "/webhook"),
            ("/webhook/../results", "/webhook/../results"),
            ("/webhook/%2e%2e/results", "/webhook/%2e%2e/results"),
            ("//results", "//results"),
            ("/events/a%2Fb%25%3F", "/events/a%2Fb%25%3F"),
            ("/events/é ?#", "/events/%C3%A9%20%3F%23"),
            ("/live/webhook", "/live/webhook"),
        ] {
            assert_eq!(route(path, false, None, None), expected, "{path}");
        }
    }

    #[test]
    fn an_http_api_decodes_the_path_and_it_is_not_decoded_again() {
        for (path, expected) in [
            ("/live/webhook", "/webhook"),
            ("/webhook", "/webhook"),
            ("/events/a%2Fb", "/events/a%252Fb"),
            ("/live/events/a/b", "/events/a%2Fb"),
            ("/events/é ?#", "/events/%C3%A9%20%3F%23"),
            ("/results/", "/results/"),
            ("/results/a/", "/results/a"),
            ("/events/..", "/events/.."),
            ("/webhook/../results", "/webhook/../results"),
            ("/%77ebhook", "/%2577ebhook"),
        ] {
            assert_eq!(route(path, true, None, None), expected, "{path}");
        }
    }

    #[test]
    fn the_matched_resource_is_the_route_below_a_base_path() {
        for (resource, path, value, expected) in [
            ("/webhook", "/hooks/webhook", None, "/webhook"),
            ("/webhook", "/hooks/v1/webhook/", None, "/webhook"),
            ("/results", "/live/results", None, "/results"),
            (
                "/results/{session_id}",
                "/hooks/results/a%2Fb",
                Some("a%2Fb"),
                "/results/a%2Fb",
            ),
            ("/results/{session_id}", "/results/results/x", None, "/results/x"),
            ("/results/{session_id}", "/results/x/", None, "/results/x"),
            (
                "/{proxy+}",
                "/hooks/events/a%2Fb",
                Some("events/a%2Fb"),
                "/events/a%2Fb",
            ),
            ("/hooks/{proxy+}", "/hooks/webhook", Some("webhook"), "/webhook"),
            ("/{proxy+}", "/hooks/webhook/", Some("webhook"), "/webhook"),
            ("/{proxy+}", "/hooks/webhook/", Some("webhook/"), "/webhook/"),
        ] {
            assert_eq!(
                route(path, false, Some(resource), value),
                expected,
                "{resource} {path}"
            );
        }
        for (resource, path, value, expected) in [
            (
                "/results/{session_id}",
                "/live/results/a/b",
                Some("a/b"),
                "/results/a%2Fb",
            ),
            (
                "/results/{session_id}",
                "/results/results/x",
                Some("results/x"),
                "/results/results%2Fx",
            ),
            (
                "/events/{event_id}",
                "/live/events/a/",
                Some("a/"),
                "/events/a%2F",
            ),
            ("/events/{event_id}", "/live/events/a/", Some("a"), "/events/a"),
            (
                "/events/{event_id}",
                "/live/events/a//",
                Some("a/"),
                "/events/a%2F",
            ),
            (
                "/events/{event_id}",
                "/hooks/events/50% é",
                Some("50%25%20%C3%A9"),
                "/events/50%25%20%C3%A9",
            ),
            (
                "/{proxy+}",
                "/live/events/a/b",
                Some("events/a/b"),
                "/events/a%2Fb",
            ),
        ] {
            assert_eq!(
                route(path, true, Some(resource), value),
                expected,
                "{resource} {path}"
            );
        }
    }

    #[test]
    fn no_path_reaches_more_than_its_resource() {
        let reads = [
            "/results",
            "/results/x",
            "/events/x",
            "/results/..%2fwebhook",
            "/results/",
        ];
        for resource in ["/{unknown+}", "/webhook", "/health", "/", "/other"] {
            for path in reads {
                assert_eq!(
                    route(path, false, Some(resource), Some("results")),
                    NOWHERE,
                    "{resource} {path}"
                );
            }
        }
        for (resource, path) in [
            ("/results", "/webhook/../results"),
            ("/results", "/webhook/%2e%2e/results"),
            ("/results", "//results"),
            ("/results", "/./results"),
            ("/results", "/results//"),
            ("/results/{session_id}", "/webhook/../results/x"),
            ("/results/{session_id}", "/results//"),
            ("/results/{session_id}", "/results/x//"),
            ("/{unknown+}", "/webhook"),
            ("/webhook", "/webhook//"),
            ("/", "/results"),
        ] {
            assert_eq!(
                route(path, false, Some(resource), None),
                NOWHERE,
                "{resource} {path}"
            );
        }
    }

    #[test]
    fn an_event_that_somebody_made_by_hand_reaches_the_open_routes() {
        for resource in ["/hello", "/results", "/{proxy+}"] {
            assert_eq!(
                route("/webhook", false, Some(resource), Some("path/to/resource")),
                "/webhook"
            );
            assert_eq!(route("/health/", false, Some(resource), None), "/health/");
        }
    }
}
