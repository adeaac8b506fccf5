//! Which origins may be reached: scheme, host and port, compared as texts. What the host's name resolves to is
//! [`super::address`]'s business.

use reqwest::Url;

/// An origin, or all origins below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    scheme: String,
    host: Pattern,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Is(String),
    /// Below this name: `*.example.com`.
    Below(String),
}

impl Allowed {
    /// The origin of a URL that was checked by [`url`].
    pub(super) fn of(url: &Url) -> Option<Self> {
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        Some(Self { scheme: url.scheme().to_owned(), host: Pattern::Is(name(host)), port })
    }

    /// `https://host`, `http://host:port`, `host`, `https://*.example.com`. The error is what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        // A star is no host that a URL could have.
        let (plain, below) = match with_scheme.split_once("://*.") {
            Some((scheme, rest)) => (format!("{scheme}://{rest}"), true),
            None => (with_scheme, false),
        };
        let url = url(&plain)?;
        if plain.contains('*') {
            return Err("a `*` stands for the beginning of a name only");
        }
        if url.path() != "/" || url.query().is_some() || text.ends_with('/') {
            return Err("an origin has no path");
        }
        let origin = Self::of(&url).ok_or("it names no host")?;
        match origin.host {
            Pattern::Is(host) if below => {
                if url.domain().is_none_or(|domain| !domain.trim_end_matches('.').contains('.')) {
                    return Err("below a `*` there must be a name with a dot");
                }
                Ok(Self { host: Pattern::Below(format!(".{host}")), ..origin })
            }
            _ => Ok(origin),
        }
    }

    /// The host, or the name that all are below.
    pub(super) fn host(&self) -> &str {
        match &self.host {
            Pattern::Is(host) => host,
            Pattern::Below(end) => end.trim_start_matches('.'),
        }
    }

    /// Whether a URL is of this origin.
    pub(super) fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().map(name).unwrap_or_default();
        url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
            && match &self.host {
                Pattern::Is(known) => host == *known,
                Pattern::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            }
    }
}

/// A host as it is compared: parsing has lowered it already.
fn name(host: &str) -> String {
    host.trim_end_matches('.').to_owned()
}

/// An absolute http or https URL without a user. The error is what is wrong.
pub(super) fn url(text: &str) -> Result<Url, &'static str> {
    // `localhost:8080` would be one of the scheme `localhost`.
    if !text.contains("://") {
        return Err("it has no scheme: https:// stands in front of the host");
    }
    let url = Url::parse(text).map_err(|_| "it is no absolute URL")?;
    check(&url)?;
    Ok(url)
}

/// The same for a URL that was put together.
pub(super) fn check(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its scheme is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user; credentials have settings of their own");
    }
    if url.host_str().is_none_or(str::is_empty) { Err("it names no host") } else { Ok(()) }
}

/// A URL for messages: its query may hold what should not be shown.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, text: &str) -> bool {
        Allowed::parse(allowed).unwrap().covers(&url(text).unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(covers("https://a.example", "https://A.example:443/x?y"));
        assert!(covers("a.example", "https://a.example./"));
        assert!(!covers("a.example", "http://a.example/"));
        assert!(!covers("https://a.example", "https://a.example:8443/"));
        assert!(!covers("https://a.example", "https://b.a.example/"));
        assert!(covers("http://10.0.0.7:8080", "http://10.0.0.7:8080/"));
        assert!(
            covers("http://10.0.0.7", "http://0x0a.0.0.7/"),
            "other spellings of an address are the address"
        );
        assert!(covers("http://[::1]:80", "http://[0:0::1]/"));
    }

    #[test]
    fn a_star_stands_for_names_below() {
        assert!(covers("*.example.com", "https://a.b.example.com/"));
        assert!(
            !covers("*.example.com", "https://example.com/")
                && !covers("*.example.com", "https://badexample.com/")
        );
        for bad in [
            "*",
            "*.com",
            "*.127.0.0.1",
            "a.*.com",
            "https://*",
            "http://a/b",
            "http://a/",
            "ftp://a",
            "http://u:p@a",
            "http://",
        ] {
            assert!(Allowed::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(shown(&url("https://a.example/x?key=hunter2#y").unwrap()), "https://a.example/x");
    }
}
