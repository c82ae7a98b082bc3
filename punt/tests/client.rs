//! The client against engines that misbehave.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use proptest::prelude::*;
use punt::control::{Client, ClientError, MAX_LINE};
use serde_json::{Value, json};

/// A client whose engine answers its calls with these bytes, one after the other, and then hangs up.
fn client(answers: Vec<Vec<u8>>) -> Client {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("puntd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        for answer in answers {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 || stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    Client::connect(&socket).unwrap()
}

/// How a call ends that is answered so.
fn fault(answer: impl Into<Vec<u8>>) -> String {
    match client(vec![answer.into()]).call("audit", json!({})) {
        Err(error @ (ClientError::Broken { .. } | ClientError::Refused(_))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_follow_questions() {
    let line = |id: u32, result: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into_bytes()
    };
    let refused = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32601,\"message\":\"there is no method \\\"x\\\"\"}}\n";
    let mut client = client(vec![line(1, "null"), refused.to_vec(), line(3, "[1,2]")]);
    assert_eq!(client.call("route.add", json!({})).unwrap(), Value::Null);
    let error = client.call("x", json!({})).unwrap_err();
    assert!(error.is_unknown_method() && error.exit_status() == 1);
    assert_eq!(error.to_string(), "there is no method \"x\"");
    assert_eq!(client.call_as::<[u8; 2]>("pair", json!({})).unwrap(), [1, 2]);
}

#[test]
fn nonsense_is_no_answer() {
    assert_eq!(fault(""), "audit: the engine closed the connection");
    assert_eq!(fault("{"), "audit: the engine closed the connection in the middle of its answer");
    assert_eq!(
        fault("\n"),
        "audit: the engine's answer is no JSON-RPC 2.0: EOF while parsing a value at line 2 column 0"
    );
    assert_eq!(
        fault("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":1}\n"),
        "audit: the engine answered request 2 instead"
    );
    assert_eq!(
        fault(vec![b' '; MAX_LINE + 1]),
        format!("audit: the engine's answer is longer than {MAX_LINE} bytes")
    );
    let unread = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"the line is too long\"}}\n";
    assert_eq!(fault(unread), "the line is too long");
}

#[test]
fn what_fits_on_no_line_is_not_sent() {
    let around = r#"{"jsonrpc":"2.0","id":1,"method":"config.apply","params":""}"#.len() + 1;
    let error = client(Vec::new()).call("config.apply", "x".repeat(MAX_LINE - around + 1)).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert_eq!(
        error.to_string(),
        "config.apply: the request has 1048577 bytes; at most 1048576 fit on a line of the control socket"
    );
    // One byte less is sent.
    let error = client(Vec::new()).call("config.apply", "x".repeat(MAX_LINE - around)).unwrap_err();
    assert_eq!(error.exit_status(), 3);
}

#[test]
fn nobody_there_is_said_with_the_place() {
    let error = Client::connect("/nonexistent/puntd.sock").unwrap_err();
    assert_eq!(error.exit_status(), 3);
    assert!(error.to_string().starts_with("no engine at /nonexistent/puntd.sock: No such file or directory"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn never_panics(answer in "(\\{\"jsonrpc\":\"2.0\",\"id\":1,)?(\"(result|error|code)\":(1|null|\\{|\\[)[,}\\]]{0,2}){0,3}\\PC{0,9}\n") {
        let _ = client(vec![answer.into()]).call("audit", json!({}));
    }
}
