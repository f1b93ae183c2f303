//! The next page of the list: a cursor, a number, an address, or the last item of this page.

use serde_json::Value;

use super::Object;
use super::item::Item;

/// The members that hold a cursor, and the query's parameter that takes it.
const CURSORS: [(&str, &str); 9] = [
    ("next_cursor", "cursor"),
    ("nextCursor", "cursor"),
    ("next", "cursor"),
    ("cursor", "cursor"),
    ("end_cursor", "cursor"),
    ("endCursor", "cursor"),
    ("next_token", "next_token"),
    ("next_page_token", "page_token"),
    ("next_page", "page"),
];

/// The members that say whether there is a next page.
const FLAGS: [&str; 5] = ["has_more", "hasMore", "has_next", "has_next_page", "hasNextPage"];

/// The members that may hold the members above.
const CONTAINERS: [&str; 8] = [
    "pagination",
    "paging",
    "meta",
    "metadata",
    "page_info",
    "pageInfo",
    "links",
    "_links",
];

/// The members that count the items on all pages, or on this page.
const TOTALS: [&str; 4] = ["total", "total_count", "totalCount", "count"];

/// The next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer names no next page.
    Unnamed,
    /// The answer says that this is the last page.
    Last { by: String },
    /// A parameter of the query.
    Parameter {
        by: String,
        name: &'static str,
        value: String,
    },
    /// An address, or a path with a query.
    Address { by: String, address: String },
}

impl Next {
    /// The way to the next page, for a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Unnamed => "one page, the answer names no next page".into(),
            Self::Last { by } | Self::Parameter { by, .. } | Self::Address { by, .. } => {
                format!("the next page is named by {by}")
            }
        }
    }
}

/// Finds the next page in the object with the list, the object around it, their containers, and the `Link` header. Also
/// returns the number of items on all pages.
///
/// # Errors
/// The fault, to be read after the name of the page.
pub fn find(
    levels: &[&Object<'_>],
    link: Option<&str>,
    last: Option<&Item>,
) -> Result<(Next, Option<u64>), String> {
    let inner = levels.iter().flat_map(|level| {
        CONTAINERS
            .iter()
            .filter_map(|name| Some((format!("{name}."), level.object(name)?)))
    });
    let inner: Vec<(String, Object<'_>)> = inner.collect();
    let outer = levels.iter().map(|level| (String::new(), *level));
    let all: Vec<(String, &Object<'_>)> = outer
        .chain(inner.iter().map(|(prefix, object)| (prefix.clone(), object)))
        .collect();

    let total = all.iter().find_map(|(_, object)| {
        TOTALS
            .iter()
            .find_map(|name| object.get(name)?.get().parse().ok())
    });
    refuse_unknown(&all)?;
    let flag = flag(&all)?;
    if let Some((by, false)) = flag {
        return Ok((Next::Last { by }, total));
    }
    if let Some(next) = cursor(&all)? {
        return Ok((next, total));
    }
    if let Some(address) = link.and_then(link_next) {
        let by = "the Link header".into();
        return Ok((Next::Address { by, address }, total));
    }
    if let Some(next) = number(&all) {
        return Ok((next, total));
    }
    let Some((by, _)) = flag else {
        let is_null = all
            .iter()
            .any(|(_, object)| CURSORS.iter().any(|(name, _)| object.is_null(name)));
        let by = "a cursor".into();
        return Ok((if is_null { Next::Last { by } } else { Next::Unnamed }, total));
    };
    // As in Stripe's API ("Pagination"): the items behind the last one.
    let value = last.and_then(|item| item.position.clone());
    let value = value.ok_or_else(|| format!("{by} says that there is more, and the last item has no id"))?;
    let by = format!("{by} and the last item's id");
    Ok((
        Next::Parameter {
            by,
            name: "starting_after",
            value,
        },
        total,
    ))
}

fn flag(all: &[(String, &Object<'_>)]) -> Result<Option<(String, bool)>, String> {
    for (prefix, object) in all {
        for name in FLAGS {
            match object.get(name).map(|value| value.get()) {
                None => {}
                Some("true") => return Ok(Some((format!("`{prefix}{name}`"), true))),
                Some("false") => return Ok(Some((format!("`{prefix}{name}`"), false))),
                Some(_) => return Err(format!("`{prefix}{name}` is neither true nor false")),
            }
        }
    }
    Ok(None)
}

fn cursor(all: &[(String, &Object<'_>)]) -> Result<Option<Next>, String> {
    for (member, name) in CURSORS {
        for (prefix, object) in all {
            let Some(value) = object.get(member) else { continue };
            let mut by = format!("`{prefix}{member}`");
            let value = match serde_json::from_str(value.get()) {
                Ok(Value::String(text)) if text.is_empty() => return Ok(Some(Next::Last { by })),
                Ok(Value::Bool(false)) => return Ok(Some(Next::Last { by })),
                Ok(Value::String(text)) => text,
                Ok(Value::Number(number)) => number.to_string(),
                // HAL: {"next": {"href": "…"}}.
                Ok(Value::Object(object)) => match object.get("href").or_else(|| object.get("url")) {
                    Some(Value::String(text)) => {
                        by = format!("`{prefix}{member}.href`");
                        text.clone()
                    }
                    _ => return Err(format!("{by} is an object without an address")),
                },
                _ => return Err(format!("{by} is neither text nor a number")),
            };
            let is_address = value.starts_with('/') || value.contains("://");
            return Ok(Some(if is_address {
                Next::Address { by, address: value }
            } else {
                Next::Parameter { by, name, value }
            }));
        }
    }
    Ok(None)
}

/// The page behind this one, by its number and the number of pages.
fn number(all: &[(String, &Object<'_>)]) -> Option<Next> {
    let (prefix, object) = all.iter().find(|(_, object)| object.get("page").is_some())?;
    let read = |name: &str| object.get(name)?.get().parse::<u64>().ok();
    let last = ["total_pages", "totalPages", "pages", "last_page"];
    let (page, pages) = (read("page")?, last.iter().find_map(|name| read(name))?);
    let by = format!("`{prefix}page`");
    Some(if page < pages {
        Next::Parameter {
            by,
            name: "page",
            value: (page + 1).to_string(),
        }
    } else {
        Next::Last { by }
    })
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn link_next(header: &str) -> Option<String> {
    let links = header.split('<').skip(1);
    links
        .filter_map(|link| link.split_once('>'))
        .find(|(_, parameters)| {
            let mut parameters = parameters.split([';', ',']).map(str::trim);
            parameters.any(|parameter| {
                let rel = parameter
                    .split_once('=')
                    .filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
                rel.is_some_and(|(_, rel)| rel.trim().trim_matches('"').split(' ').any(|rel| rel == "next"))
            })
        })
        .map(|(target, _)| target.trim().to_owned())
}

/// Refuses a member that may name a next page in a way that this command does not know.
fn refuse_unknown(all: &[(String, &Object<'_>)]) -> Result<(), String> {
    let is_known = |name: &str| CURSORS.iter().any(|(known, _)| *known == name) || FLAGS.contains(&name);
    for (prefix, object) in all {
        for (name, value) in &object.members {
            let lower = name.to_ascii_lowercase();
            let is_suspect = ["next", "more", "cursor", "token", "continu"]
                .iter()
                .any(|word| lower.contains(word))
                && !["prev", "start_cursor", "startcursor"]
                    .iter()
                    .any(|word| lower.contains(word));
            let is_set = !matches!(value.get(), "false" | "\"\"" | "0" | "[]" | "{}");
            if is_suspect && is_set && !is_known(name) {
                return Err(format!(
                    "`{prefix}{}` may name a next page, and this command does not know how to ask for it",
                    crate::show::clean(name)
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, link: Option<&str>) -> Result<Next, String> {
        let object = Object::parse(text).expect("an object");
        let item = Item {
            body: Vec::new(),
            outer_id: None,
            position: Some("last".into()),
        };
        find(&[&object], link, Some(&item)).map(|(next, _)| next)
    }

    #[test]
    fn the_usual_names_of_a_next_page_are_known() {
        let parameter = |text: &str| match next(text, None) {
            Ok(Next::Parameter { name, value, .. }) => format!("{name}={value}"),
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected) in [
            (r#"{"next_cursor":"c"}"#, "cursor=c"),
            (r#"{"next_cursor":7}"#, "cursor=7"),
            (r#"{"next":"c"}"#, "cursor=c"),
            (r#"{"cursor":"c","has_more":true}"#, "cursor=c"),
            (r#"{"next_page":2}"#, "page=2"),
            (r#"{"next_page_token":"c"}"#, "page_token=c"),
            (r#"{"has_more":true}"#, "starting_after=last"),
            (r#"{"pagination":{"next_cursor":"c"}}"#, "cursor=c"),
            (
                r#"{"page_info":{"hasNextPage":true,"endCursor":"c"}}"#,
                "cursor=c",
            ),
            (r#"{"meta":{"page":1,"total_pages":3}}"#, "page=2"),
        ] {
            assert_eq!(parameter(text), expected);
        }
        let address = |text: &str, link| match next(text, link) {
            Ok(Next::Address { address, .. }) => address,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(address(r#"{"next":"/v1/e?cursor=c"}"#, None), "/v1/e?cursor=c");
        assert_eq!(
            address(r#"{"links":{"next":"https://a.example/b"}}"#, None),
            "https://a.example/b"
        );
        assert_eq!(address(r#"{"_links":{"next":{"href":"/b"}}}"#, None), "/b");
        let link = r#"<https://a.example/1>; rel="first", <https://a.example/2>; rel="next""#;
        assert_eq!(address("{}", Some(link)), "https://a.example/2");
    }

    #[test]
    fn a_last_page_and_a_page_that_names_no_next_one_differ() {
        for text in [
            r#"{"has_more":false}"#,
            r#"{"has_more":false,"next_cursor":"stale"}"#,
            r#"{"next_cursor":""}"#,
            r#"{"next_cursor":null}"#,
            r#"{"next":false}"#,
            r#"{"page":3,"pages":3}"#,
        ] {
            assert!(matches!(next(text, None), Ok(Next::Last { .. })), "{text}");
        }
        for text in ["{}", r#"{"count":3,"previous":"a"}"#] {
            assert_eq!(next(text, None), Ok(Next::Unnamed), "{text}");
        }
        assert_eq!(
            next("{}", Some(r#"<https://a.example/1>; rel="prev""#)),
            Ok(Next::Unnamed)
        );
    }

    #[test]
    fn a_name_that_is_not_known_is_refused() {
        for (text, says) in [
            (r#"{"nextPageCursor":"c"}"#, "nextPageCursor"),
            (r#"{"more_items":true}"#, "more_items"),
            (r#"{"meta":{"continuation":"c"}}"#, "meta.continuation"),
            (r#"{"has_more":"yes"}"#, "neither true nor false"),
            (r#"{"next_cursor":["c"]}"#, "neither text nor a number"),
            (r#"{"next":{"offset":3}}"#, "without an address"),
        ] {
            let fault = next(text, None).expect_err(text);
            assert!(fault.contains(says), "{fault}");
        }
    }
}
