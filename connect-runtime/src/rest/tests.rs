//! What needs no herder; the rest is tested over a broker, in `tests/connect_rest`.

use super::{is_local, is_same_origin};

#[test]
fn hosts_of_this_machine() {
    for (host, wanted) in [
        ("localhost:8083", true),
        ("LOCALHOST", true),
        ("127.0.0.1:8083", true),
        ("[::1]:8083", true),
        ("10.0.0.7", true),
        ("evil.example:8083", false),
        ("", false),
    ] {
        assert_eq!(is_local(host), wanted, "{host}");
    }
}

#[test]
fn pages_of_this_address_only() {
    for (origin, wanted) in [
        ("http://127.0.0.1:8083", true),
        ("https://127.0.0.1:8083", true),
        ("http://127.0.0.1:8084", false),
        ("http://localhost:8083", false),
        ("https://evil.example", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(is_same_origin(origin, Some("127.0.0.1:8083")), wanted, "{origin}");
    }
    assert!(!is_same_origin("http://a", None));
}
