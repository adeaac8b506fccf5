//! Answers and errors: JSON with a code.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::herder::handle::{Error, Problems};
use crate::herder::offsets::OffsetsError;
use crate::herder::request::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What goes back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
    /// Where what was made is found.
    location: Option<String>,
}

/// Of every handler.
pub(super) type Outcome = Result<Reply, Problem>;

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body), location: None }
    }

    pub(super) fn created(body: Value, location: String) -> Self {
        Self { status: StatusCode::CREATED, body: Some(body), location: Some(location) }
    }

    pub(super) fn accepted(body: Option<Value>) -> Self {
        Self { status: StatusCode::ACCEPTED, body, location: None }
    }

    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, location: None }
    }

    pub(super) fn with_status(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), location: None }
    }

    pub(super) fn response(self, without_body: bool) -> Response<Full<Bytes>> {
        let text = self.body.as_ref().map(Value::to_string).filter(|_| !without_body);
        let mut response = Response::new(Full::new(Bytes::from(text.unwrap_or_default())));
        *response.status_mut() = self.status;
        if self.body.is_some() {
            response.headers_mut().insert(CONTENT_TYPE, JSON);
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

/// Why something can't be.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn no_such_path() -> Self {
        Self::not_found("HTTP 404 Not Found")
    }

    pub(super) fn no_such_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed")
    }

    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP 415 Unsupported Media Type")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is larger than {limit} bytes"))
    }

    pub(super) fn internal(error: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let body = json!({ "error_code": problem.status.as_u16(), "message": problem.message });
        Self { status: problem.status, body: Some(body), location: None }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoConnector(name) => Self::not_found(format!("Connector {name} not found")),
            Refusal::NoTask(id) => Self::not_found(format!("Unknown task: {id}")),
            Refusal::Exists(name) => {
                Self::new(StatusCode::CONFLICT, format!("Connector {name} already exists"))
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Starting => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Error::Invalid(problems) => Self::bad_request(invalid(&problems)),
            Error::Read(_) | Error::Write(_) | Error::Timeout => Self::internal(error),
        }
    }
}

impl From<OffsetsError> for Problem {
    fn from(error: OffsetsError) -> Self {
        match error {
            OffsetsError::Refused(refusal) => refusal.into(),
            OffsetsError::NotStopped(name) => Self::bad_request(format!(
                "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
                 specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
            )),
            OffsetsError::Shape(message) => Self::bad_request(message),
            OffsetsError::Starting => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            OffsetsError::Timeout | OffsetsError::Unknown { .. } | OffsetsError::Cluster(_) => {
                Self::internal(error)
            }
        }
    }
}

/// All that is wrong with a configuration, in Kafka Connect's words.
fn invalid(problems: &Problems) -> String {
    let count: usize = problems.values().map(Vec::len).sum();
    let each = problems.iter().flat_map(|(key, problems)| problems.iter().map(move |problem| (key, problem)));
    let lines: String = each
        .map(
            |(key, problem)| {
                if key.is_empty() { format!("{problem}\n") } else { format!("{key}: {problem}\n") }
            },
        )
        .collect();
    format!(
        "Connector configuration is invalid and contains the following {count} error(s):\n{lines}You can also find the above \
         list of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`"
    )
}
