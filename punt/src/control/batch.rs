//! Batches: many changes, cut into requests that fit on a line.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{MAX_BATCH, MAX_LINE};

/// How much of a line the objects may fill; the rest is for what stands around them.
const MAX_OBJECTS_BYTES: usize = MAX_LINE - 4096;

/// Cuts a row of objects into `params` of at most [`MAX_BATCH`] objects that fit on a line, in their order.
///
/// An object too large for any line gets a batch of its own, which [`Client`](super::Client) then refuses to send.
///
/// # Errors
/// An item is an error when an object has no JSON form.
pub fn batches<T: Serialize>(
    objects: impl IntoIterator<Item = T>,
) -> impl Iterator<Item = Result<Vec<Box<RawValue>>, serde_json::Error>> {
    let mut objects = objects.into_iter();
    let mut left_over: Option<Box<RawValue>> = None;
    std::iter::from_fn(move || {
        let mut batch: Vec<Box<RawValue>> = left_over.take().into_iter().collect();
        let mut bytes = batch.first().map_or(0, |object| object.get().len() + 1);
        while batch.len() < MAX_BATCH {
            let object = match objects.next().as_ref().map(to_raw_value) {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(object)) => object,
            };
            bytes += object.get().len() + 1;
            if bytes > MAX_OBJECTS_BYTES && !batch.is_empty() {
                left_over = Some(object);
                break;
            }
            batch.push(object);
        }
        if batch.is_empty() { None } else { Some(Ok(batch)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Request;
    use proptest::prelude::*;

    fn sizes(objects: &[String]) -> Vec<usize> {
        batches(objects).map(|batch| batch.unwrap().len()).collect()
    }

    #[test]
    fn a_batch_has_at_most_4096_objects() {
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&vec![String::new(); 4096]), [4096]);
        assert_eq!(sizes(&vec![String::new(); 10_000]), [4096, 4096, 1808]);
    }

    #[test]
    fn what_fits_on_no_line_is_alone() {
        let huge = "x".repeat(MAX_LINE);
        assert_eq!(sizes(&["a".into(), huge.clone(), huge, "b".into(), "c".into()]), [1, 1, 1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_batch_fits_on_a_line_and_nothing_is_lost(lengths in prop::collection::vec(0usize..400_000, 0..12)) {
            let objects: Vec<String> = lengths.into_iter().map(|length| "\"".repeat(length / 2)).collect();
            let mut sent = Vec::new();
            for batch in batches(&objects) {
                let batch = batch.unwrap();
                let request = Request::new(u64::MAX, "a.method.with.a.long.name", &batch).unwrap();
                prop_assert!(serde_json::to_vec(&request).unwrap().len() < MAX_LINE);
                sent.extend(batch.iter().map(|object| serde_json::from_str::<String>(object.get()).unwrap()));
            }
            prop_assert_eq!(sent, objects);
        }
    }
}
