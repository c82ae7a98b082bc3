//! Registrations by number. While the engine runs that is their id, which no other run gives again; in a file it is their place among its
//! `[[register]]`, from 1. So a reason that a registration makes, `local.bgp@17`, is `local.bgp@2` in a file whose second it is, and each of
//! these is to be found by the other.

use punt::control::types::{Policed, Register};
use punt::desk::Desk;
use punt::matching::Match;

/// The name and the number of `NAME@NUMBER`.
pub fn numbered(name: &str) -> Option<(&str, u32)> {
    let (base, number) = name.rsplit_once('@')?;
    let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    Some((base, number.parse().ok().filter(|_| digits)?))
}

/// Which registration of a file makes a reason, counted from 1, if its name says so.
pub fn place_of(name: &str) -> Option<u32> {
    numbered(name).map(|(_, place)| place)
}

/// What a reason of a file is called now. `ids` has the file's registrations, by place, as far as they are there.
///
/// # Errors
/// If no registration of the file makes it: one sentence.
pub fn now(desk: &Desk, ids: &[Option<u32>], name: &str) -> Result<String, String> {
    let Some((base, place)) = numbered(name) else { return Ok(name.to_owned()) };
    let Some(id) = place.checked_sub(1).and_then(|at| ids.get(at as usize)) else {
        let there = ids.len();
        return Err(format!(
            "{name} is of the {place}. [[register]] of this file, which has {there}; count from 1"
        ));
    };
    match id.and_then(|id| desk.reason_of(id)) {
        Some(reason) if numbered(reason).is_some_and(|(its, _)| its == base) => Ok(reason.to_owned()),
        Some(reason) => {
            let its = numbered(reason).map_or_else(|| reason.to_owned(), |(its, _)| format!("{its}@{place}"));
            Err(format!("{name} is not made by the {place}. [[register]] of this file; that has {its}"))
        }
        None => Err(format!("{name} is not made by the {place}. [[register]] of this file; that makes none")),
    }
}

/// The same of what a policer of a file is of.
///
/// # Errors
/// If that is not in the file.
pub fn policed_now(desk: &Desk, ids: &[Option<u32>], what: &Policed) -> Result<Policed, String> {
    Ok(match what {
        Policed::Reason(name) => Policed::Reason(now(desk, ids, name)?),
        Policed::Registration(place) => {
            let id = place.checked_sub(1).and_then(|at| ids.get(at as usize)).copied().flatten();
            let missing = || format!("there is no {place}. [[register]] in this file; count from 1");
            Policed::Registration(id.ok_or_else(missing)?)
        }
        what => what.clone(),
    })
}

/// A registration of a file as it is asked for now.
///
/// # Errors
/// If it is for a reason that no registration of the file makes.
pub fn register_now(desk: &Desk, ids: &[Option<u32>], it: &Register) -> Result<Register, String> {
    let r#match = match &it.r#match {
        Match::Reason(name) => Match::Reason(now(desk, ids, name)?),
        matching => matching.clone(),
    };
    Ok(Register { r#match, ..it.clone() })
}

/// In which order registrations are made, for these may ask for what others make: first all that name no reason, then those for reasons, then
/// those for what a certain registration makes of one.
pub fn order(it: &Register) -> u8 {
    match &it.r#match {
        Match::Reason(name) if name.contains('@') => 2,
        Match::Reason(_) => 1,
        _ => 0,
    }
}

/// The places of registrations in the order in which they are made.
pub fn in_order(registers: &[Register]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..registers.len()).collect();
    places.sort_by_key(|place| order(&registers[*place]));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_behind_the_last_at() {
        assert_eq!(numbered("local.bgp@17"), Some(("local.bgp", 17)));
        for name in ["local.bgp", "local.bgp@", "local.bgp@x", "local.bgp@+1", "local.bgp@99999999999"] {
            assert_eq!(numbered(name), None, "{name}");
        }
    }
}
