//! Requests, responses and errors, as they stand on a line.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::params::Object;

/// What `error.code` says.
pub mod code {
    /// The line is no JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// It is JSON, but no request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The method does not take these parameters.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The engine is at fault.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// The request is sound, but the engine will not do it: it is full, there is no such route, …
    pub const REFUSED: i32 = 1;
}

const VERSION: &str = "2.0";

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// Comes back with the answer: a number, a string or null. Without it nothing is answered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub id: Option<Value>,
    /// Noun and verb: `route.add`.
    pub method: String,
    /// An object or an array of objects, still as text: see [`one`](super::one) and [`many`](super::many).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
}

impl Request {
    /// A request that wants an answer.
    ///
    /// # Errors
    /// When the parameters have no JSON form.
    pub fn new(id: u64, method: &str, params: &impl Serialize) -> Result<Request, serde_json::Error> {
        let params = Some(to_raw_value(params)?);
        Ok(Request { jsonrpc: VERSION.into(), id: Some(id.into()), method: method.into(), params })
    }

    /// Reads one line.
    ///
    /// # Errors
    /// The answer to send when the line is no request.
    pub fn parse(line: &[u8]) -> Result<Request, Box<Response>> {
        let refuse =
            |id, code, message: String| Err(Box::new(Response::error(id, RpcError::new(code, message))));
        let request: Request = match serde_json::from_slice(line) {
            Ok(Object(request)) => request,
            Err(error) if error.is_data() => match serde_json::from_slice::<Value>(line) {
                Ok(mut value) => {
                    let id = value.get_mut("id").map(Value::take).filter(is_id).unwrap_or(Value::Null);
                    let fault = format!("the line is no JSON-RPC 2.0 request: {error}");
                    return refuse(id, code::INVALID_REQUEST, fault);
                }
                Err(error) => {
                    return refuse(Value::Null, code::PARSE_ERROR, format!("the line is no JSON: {error}"));
                }
            },
            Err(error) => {
                return refuse(Value::Null, code::PARSE_ERROR, format!("the line is no JSON: {error}"));
            }
        };
        if !request.id.as_ref().is_none_or(is_id) {
            return refuse(Value::Null, code::INVALID_REQUEST, "id is a number, a string or null".into());
        }
        if request.jsonrpc != VERSION {
            let message = format!("jsonrpc is {:?}; this engine speaks \"2.0\"", request.jsonrpc);
            return refuse(request.id.unwrap_or(Value::Null), code::INVALID_REQUEST, message);
        }
        Ok(request)
    }
}

/// What may identify a request.
fn is_id(id: &Value) -> bool {
    matches!(id, Value::Null | Value::Number(_) | Value::String(_))
}

/// A field that is there, even as null, is `Some`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The answer to one request.
#[derive(Debug)]
pub struct Response {
    /// The request's, or null where that could not be read.
    pub id: Value,
    /// The result as JSON text, or why there is none.
    pub outcome: Result<Box<RawValue>, RpcError>,
}

impl Response {
    /// It was done, and this came out.
    pub fn result(id: Value, result: &impl Serialize) -> Response {
        let outcome = to_raw_value(result).map_err(|error| {
            RpcError::new(code::INTERNAL_ERROR, format!("the result has no JSON form: {error}"))
        });
        Response { id, outcome }
    }

    /// It was not done.
    pub fn error(id: Value, error: RpcError) -> Response {
        Response { id, outcome: Err(error) }
    }

    /// As one line, its newline included.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_else(|error| {
            // Only reachable if the allocator or serde themselves fail; the client must still get a line.
            let message = serde_json::json!(error.to_string());
            format!("{{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{{\"code\":-32603,\"message\":{message}}}}}")
                .into_bytes()
        });
        line.push(b'\n');
        line
    }
}

/// How a response stands on the line: exactly one of `result` and `error`.
#[derive(Serialize, Deserialize)]
struct ResponseLine<'a> {
    jsonrpc: std::borrow::Cow<'a, str>,
    #[serde(default)]
    id: Value,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (result, error) = match &self.outcome {
            Ok(result) => (Some(result.clone()), None),
            Err(error) => (None, Some(error.clone())),
        };
        ResponseLine { jsonrpc: VERSION.into(), id: self.id.clone(), result, error }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Response, D::Error> {
        use serde::de::Error;
        let line = ResponseLine::deserialize(deserializer)?;
        let outcome = match (line.result, line.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            (None, None) => return Err(D::Error::custom("neither result nor error")),
            (Some(_), Some(_)) => return Err(D::Error::custom("both result and error")),
        };
        Ok(Response { id: line.id, outcome })
    }
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// One of [`code`].
    pub code: i32,
    /// One sentence: what was wrong, where, what would be right.
    pub message: String,
    /// The same for programs, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// An error of that [`code`].
    pub fn new(code: i32, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: None }
    }

    /// The engine will not do it.
    pub fn refused(message: impl Into<String>) -> RpcError {
        RpcError::new(code::REFUSED, message)
    }

    /// The method does not take these parameters.
    pub fn invalid_params(message: impl Into<String>) -> RpcError {
        RpcError::new(code::INVALID_PARAMS, message)
    }

    /// There is no such method.
    pub fn method_not_found(method: &str) -> RpcError {
        RpcError::new(code::METHOD_NOT_FOUND, format!("there is no method {method:?}"))
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(line: &str) -> String {
        String::from_utf8(Request::parse(line.as_bytes()).unwrap_err().to_line()).unwrap()
    }

    #[test]
    fn a_request_is_one_object() {
        let line = br#"{"jsonrpc":"2.0","id":7,"method":"route.del","params":{"prefix":"default"}}"#;
        let request = Request::parse(line).unwrap();
        assert_eq!((request.id, request.method.as_str()), (Some(7.into()), "route.del"));
        assert_eq!(request.params.unwrap().get(), r#"{"prefix":"default"}"#);
        let notification = Request::parse(br#"{"jsonrpc":"2.0","method":"audit"}"#).unwrap();
        assert!(notification.id.is_none() && notification.params.is_none());
        assert_eq!(
            Request::parse(br#"{"jsonrpc":"2.0","method":"audit","id":null}"#).unwrap().id,
            Some(Value::Null)
        );
    }

    #[test]
    fn what_is_no_request_gets_an_answer() {
        assert_eq!(
            answer("route add"),
            "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\
             \"the line is no JSON: expected value at line 1 column 1\"}}\n"
        );
        assert!(answer("").contains("-32700"));
        assert!(answer("{\"jsonrpc\":\"2.0\",").contains("-32700"));
        let no_method = answer(r#"{"jsonrpc":"2.0","id":"a"}"#);
        assert!(no_method.contains("-32600") && no_method.contains("\"id\":\"a\""), "{no_method}");
        assert!(no_method.contains("missing field `method`"), "{no_method}");
        assert!(answer(r#"{"jsonrpc":"1.0","id":3,"method":"audit"}"#).contains("\"id\":3,"));
        assert!(answer(r#"{"jsonrpc":"2.0","id":[],"method":"audit"}"#).contains("id is a number"));
        assert!(answer("[]").contains("-32600") && answer("\"x\"").contains("-32600"));
    }

    #[test]
    fn an_array_is_no_request_whatever_stands_in_it() {
        for line in [r#"["2.0",1,"route.del",{"prefix":"10.2.0.0/16"}]"#, r#"["2.0",null,"audit"]"#] {
            let answer = answer(line);
            assert!(answer.contains("-32600") && answer.contains("\"id\":null"), "{answer}");
            assert!(answer.contains("invalid type: sequence, expected an object"), "{answer}");
        }
        assert!(answer(r#"[{"jsonrpc":"2.0","id":1,"method":"audit"}]"#).contains("-32600"));
        assert!(answer(r#"["2.0",1,"#).contains("-32700"));
    }

    #[test]
    fn a_response_carries_a_result_or_an_error() {
        let done = Response::result(1.into(), &());
        assert_eq!(done.to_line(), b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\n");
        let read: Response = serde_json::from_slice(&done.to_line()).unwrap();
        assert_eq!(read.outcome.unwrap().get(), "null");
        let refused = Response::error("x".into(), RpcError::refused("there is no route 10.0.0.0/8"));
        assert_eq!(
            refused.to_line(),
            b"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{\"code\":1,\"message\":\"there is no route 10.0.0.0/8\"}}\n"
        );
        let read: Response = serde_json::from_slice(&refused.to_line()).unwrap();
        assert_eq!(read.outcome.unwrap_err(), RpcError::refused("there is no route 10.0.0.0/8"));
        assert!(serde_json::from_str::<Response>(r#"{"jsonrpc":"2.0","id":1}"#).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&line);
        }

        #[test]
        fn never_panics_on_json(line in r#"[\[{]?("(jsonrpc|id|method|params)":("2.0"|[0-9]|\[|\{|null)[,}\]]){0,5}"#) {
            let _ = Request::parse(line.as_bytes());
        }
    }
}
