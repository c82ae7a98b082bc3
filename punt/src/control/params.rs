//! Reading `params` into the types of a method.
//!
//! Derived readers of structs take arrays for objects, field by field. A client that sends one has made an error, so whatever is to be an
//! object is read by way of [`Object`].

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_BATCH;
use super::message::RpcError;

/// A `T` that stands there as an object, and as nothing else.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

/// One object; without any, the empty one.
///
/// # Errors
/// `INVALID_PARAMS`, with what is wrong and in which field.
pub fn one<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<T, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    if !text.starts_with('{') {
        return Err(RpcError::invalid_params("params is one object here"));
    }
    serde_json::from_str(text).map_err(|error| RpcError::invalid_params(sentence::<T>(text, &error)))
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
    let items: Vec<Object<T>> =
        serde_json::from_str(text).map_err(|error| name_the_object::<T>(text, &error))?;
    if items.len() > MAX_BATCH {
        let message = format!("params has {} objects; send at most {MAX_BATCH} at once", items.len());
        return Err(RpcError::invalid_params(message));
    }
    Ok(items.into_iter().map(|Object(item)| item).collect())
}

/// Reads again, more slowly, to say which of the objects is wrong.
fn name_the_object<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> RpcError {
    let objects: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let fault = objects.iter().enumerate().find_map(|(index, object)| {
        Some((index, object.get(), serde_json::from_str::<Object<T>>(object.get()).err()?))
    });
    match fault {
        Some((index, object, error)) => RpcError {
            data: Some(serde_json::json!({ "index": index })),
            ..RpcError::invalid_params(format!("object {index}: {}", sentence::<T>(object, &error)))
        },
        None => RpcError::invalid_params(plain(error)),
    }
}

/// What is wrong with an object, and in which field, if the error does not say so itself.
fn sentence<T: DeserializeOwned>(object: &str, error: &serde_json::Error) -> String {
    let error = plain(error);
    match field_at_fault::<T>(object) {
        Some(field) if !error.contains(&format!("`{field}`")) => format!("{field}: {error}"),
        _ => error,
    }
}

/// The first field with which an object cannot be read, whatever else it lacks.
fn field_at_fault<T: DeserializeOwned>(object: &str) -> Option<String> {
    let Pairs(pairs) = serde_json::from_str(object).ok()?;
    let mut before = String::from("{");
    for (name, value) in pairs {
        let comma = if before.len() > 1 { "," } else { "" };
        before += &format!("{comma}{}:{}", serde_json::Value::from(name.as_str()), value.get());
        let error = serde_json::from_str::<T>(&format!("{before}}}")).err()?;
        if !error.to_string().starts_with("missing field") {
            return Some(name);
        }
    }
    None
}

/// The fields of an object in their order, each as text.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// The error without its position, which means nothing to who sent an object.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::types::{NeighborKey, Route};

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
    fn an_array_is_no_object_whatever_stands_in_it() {
        let error = many::<NeighborKey>(Some(&raw(r#"[["10.0.1.2","wan"]]"#))).unwrap_err();
        assert_eq!(error.message, "object 0: invalid type: sequence, expected an object");
        assert_eq!(error.data, Some(serde_json::json!({ "index": 0 })));
        let error = many::<NeighborKey>(Some(&raw(r#"["10.0.1.2","wan"]"#))).unwrap_err();
        assert_eq!(error.message, "object 0: invalid type: string \"10.0.1.2\", expected an object");
    }

    #[test]
    fn errors_name_the_field_that_is_no_number_or_no_address() {
        let wrong = |params: &str| many::<Route>(Some(&raw(params))).unwrap_err().message;
        assert_eq!(
            wrong(r#"{"prefix":"10.2.0.0/16","via":["10.0.1.2"],"metric":"x"}"#),
            "metric: invalid type: string \"x\", expected u32"
        );
        let nowhere = wrong(r#"[{"metric":1,"prefix":"nowhere"}]"#);
        assert!(nowhere.starts_with("object 0: prefix: \"nowhere\""), "{nowhere}");
        assert_eq!(wrong(r#"{"prefix":"default","prefix":"default"}"#), "duplicate field `prefix`");
    }

    #[test]
    fn a_batch_has_a_bound() {
        let object = r#"{"address":"10.0.1.2","interface":"wan"}"#;
        let params = format!("[{}]", vec![object; MAX_BATCH + 1].join(","));
        let error = many::<NeighborKey>(Some(&raw(&params))).unwrap_err();
        assert_eq!(error.message, "params has 4097 objects; send at most 4096 at once");
    }
}
