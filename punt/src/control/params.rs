//! Reading `params` into the types of a method.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::MAX_BATCH;
use super::message::RpcError;

/// One object; without any, the empty one.
///
/// # Errors
/// `INVALID_PARAMS`, with what is wrong and in which field.
pub fn one<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<T, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err(RpcError::invalid_params("params is one object here"));
    }
    serde_json::from_str(text).map_err(|error| RpcError::invalid_params(sentence(&error)))
}

/// An array of up to [`MAX_BATCH`] objects, or one object alone.
///
/// # Errors
/// `INVALID_PARAMS`, with what is wrong and in which object (counted from 0; `data.index` says it too).
pub fn many<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<Vec<T>, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    if !text.starts_with('[') {
        return one(params).map(|object| vec![object]);
    }
    let items: Vec<T> = serde_json::from_str(text).map_err(|error| name_the_object::<T>(text, &error))?;
    if items.len() > MAX_BATCH {
        let message = format!("params has {} objects; send at most {MAX_BATCH} at once", items.len());
        return Err(RpcError::invalid_params(message));
    }
    Ok(items)
}

/// Reads again, more slowly, to say which of the objects is wrong.
fn name_the_object<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> RpcError {
    let objects: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let fault = objects
        .iter()
        .enumerate()
        .find_map(|(index, object)| Some((index, serde_json::from_str::<T>(object.get()).err()?)));
    match fault {
        Some((index, error)) => RpcError {
            data: Some(serde_json::json!({ "index": index })),
            ..RpcError::invalid_params(format!("object {index}: {}", sentence(&error)))
        },
        None => RpcError::invalid_params(sentence(error)),
    }
}

/// The error without its position, which means nothing to who sent an object.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::types::NeighborKey;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn one_object_is_an_array_of_one() {
        let object = r#"{"address":"10.0.1.2","interface":"wan"}"#;
        let alone: Vec<NeighborKey> = many(Some(&raw(object))).unwrap();
        let array: Vec<NeighborKey> = many(Some(&raw(&format!("[{object}]")))).unwrap();
        assert_eq!((alone.len(), &alone), (1, &array));
        assert!(many::<NeighborKey>(Some(&raw("[]"))).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_object_and_the_field() {
        let params = r#"[{"address":"10.0.1.2","interface":"wan"},{"address":"10.0.1.3","dev":"wan"}]"#;
        let error = many::<NeighborKey>(Some(&raw(params))).unwrap_err();
        assert_eq!(error.message, "object 1: unknown field `dev`, expected `address` or `interface`");
        assert_eq!(error.data, Some(serde_json::json!({ "index": 1 })));
        let error = one::<NeighborKey>(None).unwrap_err();
        assert_eq!(error.message, "missing field `address`");
        assert_eq!(one::<NeighborKey>(Some(&raw("[]"))).unwrap_err().message, "params is one object here");
        assert_eq!(many::<NeighborKey>(Some(&raw("7"))).unwrap_err().message, "params is one object here");
    }

    #[test]
    fn a_batch_has_a_bound() {
        let object = r#"{"address":"10.0.1.2","interface":"wan"}"#;
        let params = format!("[{}]", vec![object; MAX_BATCH + 1].join(","));
        let error = many::<NeighborKey>(Some(&raw(&params))).unwrap_err();
        assert_eq!(error.message, "params has 4097 objects; send at most 4096 at once");
    }
}
