//! The parts of a URI: percent-encoded segments of its path, and parameters of its query.

use std::collections::BTreeMap;

use crate::error::Refused;

/// The segments of a path, decoded.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refused> {
    path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decode(segment, false)).collect()
}

/// Parameters of a query.
#[derive(Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refused> {
        let mut parameters = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.insert(decode(name, true)?, decode(value, true)?);
        }
        Ok(Self(parameters))
    }

    /// A parameter that is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True only for `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A whole number; -1 counts as not said.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        match self.text(name) {
            None | Some("-1") => Ok(None),
            Some(text) => {
                let bad = || Refused::bad_request(format!("parameter {name} has to be a whole number"));
                text.parse().map(Some).map_err(|_| bad())
            }
        }
    }
}

fn decode(text: &str, plus_is_space: bool) -> Result<String, Refused> {
    let bad = || Refused::bad_request("the URI is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(bad);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded() {
        assert_eq!(
            segments("/subjects/a%2Fb%20%c3%a4+/versions/").unwrap(),
            ["subjects", "a/b ä+", "versions"]
        );
        for bad in ["/%", "/%4", "/%zz", "/%ff"] {
            assert_eq!(segments(bad).unwrap_err().code, 400, "{bad}");
        }
        let query = Query::parse(Some("deleted=true&subjectPrefix=a+%3A&x&limit=-1&offset=3&bad=y")).unwrap();
        assert!(query.is_true("deleted") && !query.is_true("x") && !query.is_true("bad"));
        assert_eq!((query.text("subjectPrefix"), query.text("x")), (Some("a :"), None));
        assert_eq!((query.number("limit").unwrap(), query.number("offset").unwrap()), (None, Some(3)));
        assert!(query.number("bad").is_err());
    }
}
