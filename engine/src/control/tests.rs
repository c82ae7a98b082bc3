//! The control plane as a client sees it: what it sends, what it is answered.

mod configuration;
mod counters;
mod hostile;
mod lists;
mod lives;
mod methods;
mod refused;
mod saving;
mod sessions;

use punt::control::RpcError;
use punt::control::types::ConfigPart;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::testing::control;
use super::{Control, Service, Session};
use crate::config::Sizes;

/// Calls a method on a connection of its own.
fn call(control: &mut Control, method: &str, params: Value) -> Result<Value, RpcError> {
    call_in(control, &mut Session::default(), method, params)
}

fn call_in(
    control: &mut Control,
    session: &mut Session,
    method: &str,
    params: Value,
) -> Result<Value, RpcError> {
    let params = RawValue::from_string(params.to_string()).unwrap();
    control.call(session, method, Some(&params)).map(|result| serde_json::from_str(result.get()).unwrap())
}

/// The rows of a list, of which only these fields count.
fn rows(control: &mut Control, method: &str, fields: &[&str]) -> Vec<Value> {
    let page = call(control, method, json!({})).unwrap();
    assert_eq!(page["after"], Value::Null);
    let row = |row: &Value| fields.iter().map(|field| row[field].clone()).collect::<Vec<_>>();
    page["items"].as_array().unwrap().iter().map(|item| Value::from(row(item))).collect()
}

/// The control plane of a router with addresses, neighbours and routes that a client has set.
fn router(sizes: Sizes) -> Control {
    let (mut control, _) = control(sizes);
    for (method, params) in [
        (
            "address.add",
            json!([{"address": "10.0.0.1/24", "interface": "lan"}, {"address": "fd00:a::1/64", "interface": "lan"}]),
        ),
        ("address.add", json!({"address": "10.0.1.1/24", "interface": "wan"})),
        ("neighbor.add", json!({"address": "10.0.1.2", "mac": "02:00:00:00:00:02", "interface": "wan"})),
        ("interface.set", json!({"name": "wan", "mtu": 1400, "mac": "02:00:00:00:00:99"})),
        (
            "route.add",
            json!([{"prefix": "10.2.0.0/16", "via": "10.0.1.2"}, {"prefix": "default6", "action": "punt", "metric": 5}]),
        ),
        ("route.replace", json!({"prefix": "10.2.0.0/16", "via": ["10.0.1.2", "10.0.0.9"]})),
    ] {
        assert_eq!(call(&mut control, method, params), Ok(Value::Null), "{method}");
    }
    control
}

/// The configuration in force, from all its parts.
fn saved(control: &mut Control) -> (usize, String) {
    let (mut params, mut parts, mut text) = (json!({}), 0, String::new());
    loop {
        let part: ConfigPart = serde_json::from_value(call(control, "config.save", params).unwrap()).unwrap();
        parts += 1;
        text += &part.text;
        match part.after {
            Some(after) => params = json!({ "after": after }),
            None => return (parts, text),
        }
    }
}
