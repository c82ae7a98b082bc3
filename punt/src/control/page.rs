//! Pages: a long list is answered in parts that fit on a line.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{MAX_BATCH, MAX_LINE};

/// How much of a line the items may fill; the rest is for what stands around them.
const MAX_ITEMS_BYTES: usize = MAX_LINE - 4096;

/// The parameters of every list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// The most items wanted; default and bound are [`MAX_BATCH`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The cursor of the answer before; without it from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One part of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where to go on, or null after the last row.
    pub after: Option<String>,
}

impl Page<Box<RawValue>> {
    /// The first rows, as many as wanted and as fit on a line, and the cursor of the last of them.
    ///
    /// `rows` starts behind `paging.after`; who calls finds that place by the cursor.
    ///
    /// # Errors
    /// When a row has no JSON form.
    pub fn of<T: Serialize>(
        rows: impl IntoIterator<Item = T>,
        limit: Option<usize>,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Self, serde_json::Error> {
        let limit = limit.unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
        let mut page = Page { items: Vec::new(), after: None };
        let mut bytes = 0;
        for row in rows {
            let item = to_raw_value(&row)?;
            bytes += item.get().len() + 1;
            if page.items.len() == limit || (bytes > MAX_ITEMS_BYTES && !page.items.is_empty()) {
                return Ok(page);
            }
            page.after = Some(cursor(&row));
            page.items.push(item);
        }
        page.after = None;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the whole of `rows` page by page.
    fn sizes(rows: &[String], limit: Option<usize>) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut start = 0;
        loop {
            let numbered = rows.iter().enumerate().skip(start);
            let page = Page::of(numbered, limit, |(index, _)| index.to_string()).unwrap();
            sizes.push(page.items.len());
            assert!(serde_json::to_vec(&page).unwrap().len() < MAX_LINE);
            match page.after {
                Some(cursor) => start = cursor.parse::<usize>().unwrap() + 1,
                None => return sizes,
            }
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let rows = vec![String::from("row"); 5];
        assert_eq!(sizes(&rows, Some(2)), [2, 2, 1]);
        assert_eq!(sizes(&rows, Some(5)), [5]);
        assert_eq!(sizes(&rows, None), [5]);
        assert_eq!(sizes(&rows, Some(0)), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(&[], None), [0]);
    }

    #[test]
    fn a_page_fits_on_a_line() {
        assert_eq!(sizes(&vec!["x".repeat(300_000); 7], None), [3, 3, 1]);
        assert_eq!(sizes(&vec![String::new(); 5000], Some(usize::MAX)), [4096, 904]);
    }
}
