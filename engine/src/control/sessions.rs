//! Sessions: what a client made for its own connection, and the time it has to come back for it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// How long a client may stay away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions whose clients are there that can be opened: connections that hold one are never shown out, and others need room beside them.
const MAX_SESSIONS: usize = 256;

/// All sessions, and what those left behind that have ended.
#[derive(Clone, Default)]
pub struct Sessions {
    by_token: HashMap<String, Held>,
    /// Sinks of sessions that have ended, which others use.
    left_behind: HashSet<String>,
}

#[derive(Clone, Default)]
struct Held {
    sinks: Vec<String>,
    registrations: Vec<u32>,
    /// When its client left.
    left: Option<Instant>,
}

impl Sessions {
    /// A new session's token, which nobody can guess.
    ///
    /// # Errors
    /// If there are too many.
    pub fn open(&mut self) -> Result<String, String> {
        if self.by_token.values().filter(|held| held.left.is_none()).count() >= MAX_SESSIONS {
            return Err(format!(
                "there are {MAX_SESSIONS} sessions, and there can be no more; end one, or leave out life"
            ));
        }
        // Two keys of the system's own randomness, hashed: 128 bits that only its client knows.
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        let token = format!("{:016x}{:016x}", random(), random());
        self.by_token.insert(token.clone(), Held::default());
        Ok(token)
    }

    /// Ends a session if it holds nothing; says whether it did.
    pub fn discard(&mut self, token: &str) -> bool {
        let empty = |held: &Held| held.sinks.is_empty() && held.registrations.is_empty();
        let discarded = self.by_token.get(token).is_some_and(empty);
        if discarded {
            self.by_token.remove(token);
        }
        discarded
    }

    /// A sink of the session.
    pub fn add_sink(&mut self, token: &str, sink: &str) {
        self.by_token.entry(token.to_owned()).or_default().sinks.push(sink.to_owned());
    }

    /// A registration of the session.
    pub fn add_registration(&mut self, token: &str, id: u32) {
        self.by_token.entry(token.to_owned()).or_default().registrations.push(id);
    }

    /// A registration is no more, whoever took it back.
    pub fn forget(&mut self, id: u32) {
        self.by_token.values_mut().for_each(|held| held.registrations.retain(|held| *held != id));
    }

    /// The sink is deleted; one that is made later under its name is another's.
    pub fn forget_sink(&mut self, sink: &str) {
        self.left_behind.remove(sink);
        self.by_token.values_mut().for_each(|held| held.sinks.retain(|it| it != sink));
    }

    /// The client has left; what it registered. A session that holds nothing is nothing to come back for.
    pub fn close(&mut self, token: &str, now: Instant) -> Option<Vec<u32>> {
        self.discard(token);
        let held = self.by_token.get_mut(token)?;
        held.left = Some(now);
        Some(held.registrations.clone())
    }

    /// The client is back: its sinks and registrations. None if it never left, or was away too long.
    pub fn resume(&mut self, token: &str) -> Option<(Vec<String>, Vec<u32>)> {
        let held = self.by_token.get_mut(token).filter(|held| held.left.is_some())?;
        held.left = None;
        Some((held.sinks.clone(), held.registrations.clone()))
    }

    /// Others use this sink, whose session has ended.
    pub fn leave_behind(&mut self, sink: &str) {
        self.left_behind.insert(sink.to_owned());
    }

    /// Whether the client that made this sink has left, and nobody else made it his own since.
    pub fn has_left(&self, sink: &str) -> bool {
        self.left_behind.contains(sink) || self.left_with(sink).is_some()
    }

    /// The token of the session that has this sink, if its client has left.
    fn left_with(&self, sink: &str) -> Option<&String> {
        let has = |held: &Held| held.left.is_some() && held.sinks.iter().any(|it| it == sink);
        self.by_token.iter().find(|(_, held)| has(held)).map(|(token, _)| token)
    }

    /// Takes out the session that has this sink, if its client has left: its sinks and registrations.
    pub fn take_left(&mut self, sink: &str) -> Option<(Vec<String>, Vec<u32>)> {
        let token = self.left_with(sink)?.clone();
        self.by_token.remove(&token).map(|held| (held.sinks, held.registrations))
    }

    /// Takes out those whose clients stay away: their sinks and registrations.
    pub fn expire(&mut self, now: Instant) -> Vec<(Vec<String>, Vec<u32>)> {
        let gone = |_: &String, held: &mut Held| {
            held.left.is_some_and(|left| now.saturating_duration_since(left) >= PATIENCE)
        };
        self.by_token.extract_if(gone).map(|(_, held)| (held.sinks, held.registrations)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_in_time_finds_everything() {
        let mut sessions = Sessions::default();
        let token = sessions.open().expect("there is room");
        sessions.add_sink(&token, "bfdd");
        sessions.add_registration(&token, 7);
        assert_eq!(sessions.resume(&token), None, "it is still open");
        assert_eq!(sessions.close(&token, Instant::now()), Some(vec![7]));
        assert!(sessions.expire(Instant::now()).is_empty());
        assert_eq!(sessions.resume(&token), Some((vec!["bfdd".into()], vec![7])));
        assert_eq!(sessions.resume("guess"), None);
        assert_ne!(Ok(token), sessions.open());
    }

    #[test]
    fn there_is_room_for_other_connections_beside_those_of_sessions() {
        let mut sessions = Sessions::default();
        let tokens: Vec<_> = (0..MAX_SESSIONS).map(|_| sessions.open().expect("there is room")).collect();
        let refused = "there are 256 sessions, and there can be no more; end one, or leave out life";
        assert_eq!(sessions.open(), Err(refused.to_owned()));
        sessions.add_registration(&tokens[0], 7);
        sessions.close(&tokens[0], Instant::now());
        assert!(sessions.open().is_ok(), "one has left");
    }

    #[test]
    fn a_deleted_sink_is_nobodys() {
        let mut sessions = Sessions::default();
        let token = sessions.open().expect("there is room");
        sessions.add_sink(&token, "bfdd");
        sessions.forget_sink("bfdd");
        assert_eq!(sessions.close(&token, Instant::now()), None);
        assert_eq!(sessions.resume(&token), None, "it held nothing else");
    }

    #[test]
    fn who_has_left_makes_room() {
        let mut sessions = Sessions::default();
        let token = sessions.open().expect("there is room");
        sessions.add_sink(&token, "bfdd");
        sessions.add_registration(&token, 7);
        assert_eq!(sessions.take_left("bfdd"), None, "it is still open");
        sessions.close(&token, Instant::now());
        assert_eq!(sessions.take_left("other"), None);
        assert_eq!(sessions.take_left("bfdd"), Some((vec!["bfdd".into()], vec![7])));
        assert_eq!(sessions.resume(&token), None);
    }

    #[test]
    fn what_is_left_behind_is_so_until_somebody_makes_it_his_own() {
        let mut sessions = Sessions::default();
        assert!(!sessions.has_left("bfdd"));
        sessions.leave_behind("bfdd");
        assert!(sessions.has_left("bfdd"));
        sessions.forget_sink("bfdd");
        assert!(!sessions.has_left("bfdd"));
    }
}
