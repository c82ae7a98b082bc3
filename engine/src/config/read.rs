//! Reading TOML field by field: each fault is noted with its line and key, and reading goes on.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::parse::ItemPlaces;

/// A value and where it stands: bytes from the start of the text.
pub struct Placed<T> {
    pub value: T,
    pub at: usize,
}

/// An IP address, as it is read: what is none is named.
pub struct Host(pub IpAddr);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let wrong = |_| format!("is {text:?}; it is an IP address, as 10.0.1.2 or fd00:b::2");
        text.parse().map(Host).map_err(wrong)
    }
}

/// What was wrong with the text so far.
#[derive(Default)]
pub struct Reader {
    faults: Vec<Fault>,
}

struct Fault {
    at: usize,
    key: String,
    fault: String,
}

impl Reader {
    /// Notes that what stands at `at` is wrong.
    pub fn wrong(&mut self, at: usize, key: impl Display, fault: impl Display) {
        self.faults.push(Fault { at, key: key.to_string(), fault: fault.to_string() });
    }

    /// How much is wrong so far.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// Everything that is wrong, in the order of `text`, which is called `file`.
    pub fn finish(mut self, text: &str, file: &str) -> Vec<ConfigError> {
        self.faults.sort_by_key(|fault| fault.at);
        let (mut line, mut seen) = (1, 0);
        let placed = self.faults.into_iter().map(|Fault { at, key, fault }| {
            let at = at.min(text.len());
            line += text.as_bytes()[seen..at].iter().filter(|&&byte| byte == b'\n').count();
            seen = at;
            ConfigError { file: file.into(), line, key, fault }
        });
        placed.collect()
    }
}

/// The fields of one table. What is not asked for by name is an error in the end.
pub struct Fields<'a> {
    /// As an operator would name it: `interface.lan`.
    pub path: String,
    /// Where the table stands.
    pub at: usize,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Of a whole file.
    pub fn root(table: &'a DeTable<'a>) -> Fields<'a> {
        Fields { path: String::new(), at: 0, table, asked: Vec::new() }
    }

    /// Of a value that must be a table.
    pub fn of(path: String, value: &'a Spanned<DeValue<'a>>, reader: &mut Reader) -> Option<Fields<'a>> {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Fields { path, at, table, asked: Vec::new() }),
            other => {
                reader.wrong(at, &path, format_args!("is {}; it is a table", kind(other)));
                None
            }
        }
    }

    /// How errors name one of the fields.
    pub fn key(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = if key.chars().all(bare) && !key.is_empty() { key.into() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// All fields by name and value, in the order of the file, for tables whose keys are the user's.
    pub fn all(&self) -> Vec<(Placed<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let place = |key: &'a Spanned<_>| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            Placed { value: key.get_ref().as_ref(), at: key.span().start }
        };
        let mut all: Vec<_> = self.table.iter().map(|(key, value)| (place(key), value)).collect();
        all.sort_by_key(|(key, _)| key.at);
        all
    }

    /// Where the table and all its fields stand.
    pub fn places(&self) -> ItemPlaces {
        let fields = self.table.iter();
        let fields = fields.map(|(key, value)| (key.get_ref().as_ref().into(), value.span().start));
        ItemPlaces { at: self.at, fields: fields.collect() }
    }

    /// A field, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// A table in this one.
    pub fn table(&mut self, key: &'static str, reader: &mut Reader) -> Option<Fields<'a>> {
        let value = self.get(key)?;
        Fields::of(self.key(key), value, reader)
    }

    /// An array of tables, `[[key]]`.
    pub fn tables(&mut self, key: &'static str, reader: &mut Reader) -> Vec<Fields<'a>> {
        let items = self.array(key, "an array of tables, each begun by a line", reader);
        items.iter().filter_map(|item| Fields::of(self.key(key), item, reader)).collect()
    }

    fn array(&mut self, key: &'static str, right: &str, reader: &mut Reader) -> &'a [Spanned<DeValue<'a>>] {
        let Some(value) = self.get(key) else { return &[] };
        match value.get_ref() {
            DeValue::Array(items) => items,
            other => {
                let fault = format!("is {}; it is {right} [[{key}]]", kind(other));
                reader.wrong(value.span().start, self.key(key), fault);
                &[]
            }
        }
    }

    /// A string.
    pub fn string(&mut self, key: &'static str, reader: &mut Reader) -> Option<Placed<&'a str>> {
        let value = self.get(key)?;
        string(&self.key(key), value, reader)
    }

    /// A string that is something else's notation.
    pub fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        reader: &mut Reader,
    ) -> Option<Placed<T>> {
        let text = self.string(key, reader)?;
        parsed(&self.key(key), text, reader)
    }

    /// The same, where a number may stand without quotes: a rate.
    pub fn quantity<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        reader: &mut Reader,
    ) -> Option<Placed<T>> {
        let value = self.get(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            let text = string(&self.key(key), value, reader)?;
            return parsed(&self.key(key), text, reader);
        };
        let decimal = i64::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string());
        let text = decimal.as_deref().unwrap_or(number.as_str());
        parsed(&self.key(key), Placed { value: text, at: value.span().start }, reader)
    }

    /// One or several of those: `["a", "b"]`, or `"a"`.
    pub fn list<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        reader: &mut Reader,
    ) -> Vec<Placed<T>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let key = self.key(key);
        let items = match value.get_ref() {
            DeValue::Array(items) => items.as_ref(),
            _ => std::slice::from_ref(value),
        };
        let item = |item| parsed(&key, string(&key, item, reader)?, reader);
        items.iter().filter_map(item).collect()
    }

    /// A whole number within bounds.
    pub fn number<T: TryFrom<i64> + Copy + Into<i64>>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<T>,
        reader: &mut Reader,
    ) -> Option<Placed<T>> {
        let value = self.get(key)?;
        let at = value.span().start;
        let (least, most): (i64, i64) = ((*bounds.start()).into(), (*bounds.end()).into());
        let right = format!("it is a whole number from {least} to {most}");
        let DeValue::Integer(number) = value.get_ref() else {
            reader.wrong(at, self.key(key), format_args!("is {}; {right}", kind(value.get_ref())));
            return None;
        };
        let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
        match read.filter(|read| (least..=most).contains(read)).and_then(|read| T::try_from(read).ok()) {
            Some(value) => Some(Placed { value, at }),
            None => {
                reader.wrong(at, self.key(key), format_args!("is {number}; {right}"));
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&mut self, key: &'static str, reader: &mut Reader) -> Option<bool> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => {
                let fault = format_args!("is {}; it is true or false", kind(other));
                reader.wrong(value.span().start, self.key(key), fault);
                None
            }
        }
    }

    /// Notes every field that nobody asked for.
    pub fn finish(self, reader: &mut Reader) {
        for (key, _) in self.all() {
            if !self.asked.contains(&key.value) {
                let right = match nearest(key.value, &self.asked) {
                    Some(right) => format!("did you mean {right}?"),
                    None => format!("there are {}", self.asked.join(", ")),
                };
                reader.wrong(key.at, self.key(key.value), format_args!("is no key of this table; {right}"));
            }
        }
    }
}

fn string<'a>(key: &str, value: &'a Spanned<DeValue<'a>>, reader: &mut Reader) -> Option<Placed<&'a str>> {
    match value.get_ref() {
        DeValue::String(text) => Some(Placed { value: text.as_ref(), at: value.span().start }),
        other => {
            let fault = format_args!("is {}; it is a string in quotes", kind(other));
            reader.wrong(value.span().start, key, fault);
            None
        }
    }
}

fn parsed<T: FromStr<Err: Display>>(key: &str, text: Placed<&str>, reader: &mut Reader) -> Option<Placed<T>> {
    match text.value.parse() {
        Ok(value) => Some(Placed { value, at: text.at }),
        Err(error) => {
            reader.wrong(text.at, key, error);
            None
        }
    }
}

/// The one of `right` that was probably meant, if any comes near.
pub fn nearest<'a>(wrong: &str, right: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &&str| strsim::damerau_levenshtein(wrong, word);
    let best = right.iter().min_by_key(|word| distance(word))?;
    (distance(best) <= 1 + best.len() / 3).then_some(*best)
}

/// What a value is, in words.
fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
