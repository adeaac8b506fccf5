//! What needs no herder; the rest is tested over a broker, in `tests/connect_rest`.

use super::is_local;

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
