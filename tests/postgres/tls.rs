//! Whom the host trusts.

use serde_json::json;

use crate::database;
use crate::script::{fault, run};

#[test]
fn a_server_is_trusted_as_far_as_the_connection_says() {
    let server = database("tls");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, server.certificate()).expect("a file can be written");
    let asked = |host: &str, tls: Option<&str>, trusted: bool| {
        let mut settings =
            json!({ "host": host, "port": server.port(), "user": "postgres", "database": "tls" });
        if let Some(tls) = tls {
            settings["tls"] = tls.into();
        }
        if trusted {
            settings["ca"] = ca.to_str().into();
        }
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let mut came = run(&settings, &json!([{ "open": "db" }, { "rows": sql }]));
        match came[0].get("ok") {
            Some(_) => came[1]["ok"]["rows"][0][0].take().as_str().map(str::to_owned).ok_or_else(String::new),
            None => Err(fault(&came[0]).to_owned()),
        }
    };
    let (yes, no) = (Ok("t".to_owned()), Ok("f".to_owned()));
    let (named, unnamed) = (server.host(), server.unnamed_host());
    assert_eq!(asked(&named, None, false), yes, "what is local prefers TLS, and looks at nothing");
    assert_eq!(asked(&named, Some("disable"), false), no);
    assert_eq!(asked(&named, Some("require"), false), yes);
    assert_eq!(asked(&unnamed, Some("verify-ca"), true), yes, "whatever it is called");
    assert_eq!(asked(&named, Some("verify-full"), true), yes);
    for (host, tls, trusted) in
        [(&unnamed, "verify-full", true), (&named, "verify-full", false), (&named, "verify-ca", false)]
    {
        let said = asked(host, Some(tls), trusted).expect_err("nobody to trust");
        assert!(said.starts_with("Fatal postgres.tls: ") && said.contains("certificate"), "{said}");
    }
}
