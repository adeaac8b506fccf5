//! What is on a page: records, their keys and positions, and where the next page is.

use millrace_connector_fields::{Fields, Found, Path, document};
use millrace_sdk::Error;
use millrace_sdk::http::Response;
use serde_json::value::RawValue;

use crate::settings::{Key, Paging, Settings};
use crate::state::Page;

/// The paths among the settings, read.
#[derive(Debug)]
pub struct Reader {
    records: Option<Fields>,
    records_path: String,
    next: Option<Fields>,
    key: Vec<(String, Fields)>,
    is_object: bool,
    position: Option<Fields>,
    paging: Option<Paging>,
}

fn fields(path: &str) -> Result<Fields, Error> {
    let parsed: Path = path.parse().map_err(|error| Error::fatal("settings", format!("{error}")))?;
    Ok(Fields::new(&[parsed]))
}

/// The one field that `fields` looks for, as it stands in the text; of several, the last.
fn find<'t>(fields: &Fields, text: &'t str) -> Result<Option<&'t str>, Error> {
    let mut found: Vec<Found> = Vec::new();
    fields.find(text, &mut found).map_err(|error| not_json(&error))?;
    Ok(found.last().map(|found| &text[found.value.clone()]))
}

fn not_json(error: &dyn std::fmt::Display) -> Error {
    Error::fatal("http.body", format!("the response can't be read: {error}"))
}

/// What a JSON value says: a text without its quotes, anything else as it stands; null says nothing.
fn said(value: &str) -> Option<String> {
    match value {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        other => Some(other.to_owned()),
    }
}

impl Reader {
    /// From settings without problems.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let next = match &settings.paging {
            Some(Paging::Next(path) | Paging::Cursor { path, .. }) => Some(fields(path)?),
            _ => None,
        };
        let key: Result<Vec<_>, Error> = settings
            .key
            .iter()
            .flat_map(Key::paths)
            .map(|path| Ok((path.to_owned(), fields(path)?)))
            .collect();
        Ok(Self {
            records: settings.records.as_deref().map(fields).transpose()?,
            records_path: settings.records.clone().unwrap_or_default(),
            next,
            key: key?,
            is_object: matches!(settings.key, Some(Key::Several(_))),
            position: settings.position.as_ref().map(|position| fields(&position.field)).transpose()?,
            paging: settings.paging.clone(),
        })
    }

    /// The records of a response, as they stand there.
    pub fn records<'r>(&self, response: &'r Response) -> Result<Vec<&'r str>, Error> {
        let text = document(&response.body).map_err(|error| not_json(&error))?.trim();
        if response.status == 204 || text.is_empty() {
            return Ok(Vec::new());
        }
        let part = match &self.records {
            None => text,
            Some(fields) => find(fields, text)?.ok_or_else(|| {
                let path = &self.records_path;
                Error::fatal("http.body", format!("the response has no {path}; correct `records`"))
            })?,
        };
        match part.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(part).map_err(|error| not_json(&error))?;
                Ok(items.into_iter().map(RawValue::get).collect())
            }
            _ if part == "null" => Ok(Vec::new()),
            _ => {
                let whole: &RawValue = serde_json::from_str(part).map_err(|error| not_json(&error))?;
                Ok(vec![whole.get()])
            }
        }
    }

    /// A record's key; none: it has none.
    pub fn key(&self, record: &str) -> Result<Option<Vec<u8>>, Error> {
        if !self.is_object {
            let Some((_, fields)) = self.key.first() else { return Ok(None) };
            let text = find(fields, record)?.and_then(said);
            return Ok(text.filter(|text| !text.is_empty()).map(String::into_bytes));
        }
        let mut out = String::from("{");
        for (at, (path, fields)) in self.key.iter().enumerate() {
            let name = serde_json::Value::from(path.as_str());
            let value = find(fields, record)?.unwrap_or("null");
            out.push_str(&format!("{}{name}:{value}", if at == 0 { "" } else { "," }));
        }
        out.push('}');
        Ok(Some(out.into_bytes()))
    }

    /// A record's position; none: there is no such setting.
    pub fn position(&self, record: &str) -> Result<Option<String>, Error> {
        let Some(fields) = &self.position else { return Ok(None) };
        match find(fields, record)?.and_then(said) {
            Some(position) => Ok(Some(position)),
            None => Err(Error::fatal(
                "http.position",
                "a record without `position.field`: it would be read for ever",
            )),
        }
    }

    /// The page after this one, which has so many records; none: it is the last.
    pub fn next(&self, response: &Response, page: &Page, records: u64) -> Result<Option<Page>, Error> {
        let at = |url: &str| Page::At { url: url.to_owned(), on: response.url.clone() };
        let in_body = || -> Result<Option<String>, Error> {
            let (Some(fields), false) = (&self.next, response.body.is_empty()) else { return Ok(None) };
            let text = document(&response.body).map_err(|error| not_json(&error))?;
            Ok(find(fields, text)?.and_then(said).filter(|next| !next.is_empty()))
        };
        let number = |first: u64| if let Page::Number(number) = page { *number } else { first };
        let next = match &self.paging {
            None => None,
            Some(Paging::Link(_)) => {
                let headers = response.headers.iter().filter(|(name, _)| name == "link");
                headers.filter_map(|(_, value)| next_link(value)).next().map(at)
            }
            Some(Paging::Next(_)) => in_body()?.map(|url| at(&url)),
            Some(Paging::Cursor { .. }) => in_body()?.map(Page::Cursor),
            Some(Paging::Offset { limit, .. }) => {
                (records >= *limit).then(|| Page::Number(number(0) + records))
            }
            Some(Paging::Page { first, .. }) => (records > 0).then(|| Page::Number(number(*first) + 1)),
        };
        // A page that leads to itself is the last one.
        let is_itself = |next: &Page| match next {
            Page::At { url, .. } => next == page || leads_to(url, &response.url),
            _ => next == page,
        };
        Ok(next.filter(|next| !is_itself(next)))
    }
}

/// Whether a link on a page leads to that page, as far as that shows without dots in its path.
fn leads_to(link: &str, page: &str) -> bool {
    let bare = |url: &str| url.split('#').next().unwrap_or_default().to_owned();
    let (link, page) = (bare(link), bare(page));
    let path = page.split('?').next().unwrap_or_default();
    let origin = page.match_indices('/').nth(2).map_or(page.as_str(), |(at, _)| &page[..at]);
    match link.as_str() {
        _ if link.contains("://") => link == page,
        _ if link.starts_with("//") => page.split_once(':').is_some_and(|(_, rest)| rest == link),
        _ if link.starts_with('?') => format!("{path}{link}") == page,
        _ if link.starts_with('/') => format!("{origin}{link}") == page,
        "" => true,
        _ => path.rsplit_once('/').is_some_and(|(folder, _)| format!("{folder}/{link}") == page),
    }
}

/// The target of `rel="next"` in a header Link (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, next) = until(after, ',');
        let mut left = parameters;
        while !left.is_empty() {
            let (parameter, after) = until(left, ';');
            if is_next(parameter) {
                return Some(target);
            }
            left = after;
        }
        rest = next;
    }
}

/// Whether a parameter is `rel` with `next` among its relations.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
}

/// What stands before and behind the first `end` outside of quotes.
fn until(text: &str, end: char) -> (&str, &str) {
    let mut quoted = false;
    let found = text.find(|c: char| {
        quoted ^= c == '"';
        c == end && !quoted
    });
    found.map_or((text, ""), |at| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_its_own_page_is_known() {
        let page = "https://a.example/v1/events?page=9";
        for link in
            [page, "//a.example/v1/events?page=9#x", "/v1/events?page=9", "?page=9", "events?page=9", "", "#"]
        {
            assert!(leads_to(link, page), "{link}");
        }
        for link in ["https://b.example/v1/events?page=9", "?page=10", "/v1/events", "events", "/", "?"] {
            assert!(!leads_to(link, page), "{link}");
        }
        assert!(leads_to("/?x", "https://a.example/?x") && !leads_to("x", "https://a.example/"));
    }

    #[test]
    fn the_next_link_is_found() {
        assert_eq!(
            next_link(r#"<https://a/?p=2>; rel="next", <https://a/?p=9>; rel="last""#),
            Some("https://a/?p=2")
        );
        assert_eq!(
            next_link(r#"<?p=1>; rel=prev; title="a, <b>; rel=next", <?p=3>; REL="last next""#),
            Some("?p=3")
        );
        assert_eq!(next_link(r#"<?p=1>; rel="prev""#), None);
        assert_eq!(next_link("<?p=1"), None);
        assert_eq!(next_link(""), None);
    }
}
