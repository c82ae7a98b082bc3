//! Configurations on the control socket: they come and go in parts, for a line is bounded and a configuration is not.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use punt::control::types::{
    ConfigPart, ConfigReport, ConfigText, Life, Neighbor, NeighborRow, Register, SinkAdd,
};
use punt::control::{Paging, RpcError, one};

use super::Control;
use super::methods::{Answer, Params, answer, cursor};
use super::model::Key;
use crate::config::{self, Config};
use crate::rehearsal::{Others, rehearse};

/// Bytes of configuration in one answer: JSON may write each as six.
const PART: usize = 128 << 10;
/// Bytes of configuration that all clients together may have sent in parts. Each may have half of what the others leave, so that there is
/// always room for one more.
const MAX_CONFIG: usize = 256 << 20;
/// Faults of a configuration that are told; who mends these sees the others next.
const MAX_FAULTS: usize = 50;

/// What is remembered of a connection.
#[derive(Default)]
pub struct Session {
    /// The parts of a configuration that came so far.
    coming: Held,
    /// What was set of punting when its client began to save, while there is more of it to tell.
    going: Held,
    /// By which its client can take back what it made for itself.
    pub(super) token: Option<String>,
}

/// A part of a configuration that is kept for a client.
#[derive(Default)]
struct Held(String);

/// Bytes of configurations that are kept, of all connections.
static HELD: AtomicUsize = AtomicUsize::new(0);

impl Held {
    fn push(&mut self, text: &str) -> Result<(), RpcError> {
        let ours = self.0.len() + text.len();
        let others = HELD.load(Ordering::Relaxed).saturating_sub(self.0.len());
        let most = MAX_CONFIG.saturating_sub(others) / 2;
        if ours > most {
            self.take();
            return Err(RpcError::refused(format!(
                "a configuration may have {most} bytes while others have {others} on their way; send a smaller one, or wait"
            )));
        }
        HELD.fetch_add(text.len(), Ordering::Relaxed);
        self.0.push_str(text);
        Ok(())
    }

    fn take(&mut self) -> String {
        HELD.fetch_sub(self.0.len(), Ordering::Relaxed);
        std::mem::take(&mut self.0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.take();
    }
}

impl Session {
    /// Takes a part of a configuration; gives the whole with its name when it was the last.
    pub(super) fn receive(&mut self, part: ConfigText) -> Result<Option<(String, String)>, RpcError> {
        self.coming.push(&part.text)?;
        if part.more {
            return Ok(None);
        }
        let name = if part.name.is_empty() { "configuration".to_owned() } else { part.name };
        Ok(Some((self.coming.take(), name)))
    }
}

pub(super) fn parse(text: &str, name: &str) -> Result<Config, RpcError> {
    Config::parse(text, name).map_err(|errors| {
        let mut lines: Vec<String> = errors.iter().take(MAX_FAULTS).map(ToString::to_string).collect();
        if errors.len() > MAX_FAULTS {
            lines.push(format!("and {} more", errors.len() - MAX_FAULTS));
        }
        RpcError::refused(lines.join("\n"))
    })
}

impl Control {
    /// What an operator should know of a configuration that is right, and that fits the ports, the tables, and what operators made.
    pub(super) fn config_check(&mut self, config: &Config) -> Answer {
        let beside = self.ways_beside(config);
        let changes = self.model.check(config, &beside).map_err(|refused| self.at_start(config, refused))?;
        let faults = self.rehearsed(config);
        if !faults.is_empty() {
            return Err(RpcError::refused(faults.join("\n")));
        }
        let changes = changes + self.count_of_changes(config);
        let mut notes = self.notes_at_start(config);
        if config.tables != self.sizes {
            let memory = config.memory().dpdk().div_ceil(1 << 20);
            notes.push(format!("its tables and packets take {memory} MiB of DPDK memory for each NUMA node"));
        }
        notes.push(match changes {
            0 => "applied, it would change nothing".to_owned(),
            1 => "applied, it would make 1 change".to_owned(),
            changes => format!("applied, it would make {changes} changes"),
        });
        answer(&ConfigReport { notes })
    }

    /// All that would be refused of what a configuration says of punting, beside what others have.
    pub(super) fn rehearsed(&self, config: &Config) -> Vec<String> {
        rehearse(config, crate::reasons::statics(&self.plan), self.workers.len(), &self.others(config))
    }

    /// What others than files have set, and stays beside what this one says.
    fn others(&self, config: &Config) -> Others {
        let of_file = |name: &str| config.sinks.iter().any(|it| it.name == name);
        let sinks = self.desk.sink_rows().into_iter().filter(|row| row.life != Life::Config);
        let sinks = sinks.filter(|row| !of_file(&row.name)).map(|row| SinkAdd {
            name: row.name,
            target: row.target,
            rate: row.rate,
            burst: row.burst,
            life: row.life,
        });
        let kept: Vec<u32> = self.ids_of(config).into_iter().flatten().collect();
        let rows = self.desk.registration_rows().into_iter();
        let rows = rows.filter(|row| row.life != Life::Config && !kept.contains(&row.id));
        let registers = rows.map(|row| {
            let it = Register {
                r#match: row.r#match,
                sink: row.sink,
                rate: row.rate,
                burst: row.burst,
                interface: row.interface,
                source: row.source,
                snaplen: row.snaplen,
                exclusive: row.exclusive,
                life: row.life,
            };
            (it, row.owner, row.id)
        });
        let anew = self.classes_anew(config);
        let classes = self.desk.set_limits().0.into_iter().filter(|set| !anew.contains(&set.name));
        Others {
            sinks: sinks.collect(),
            registers: registers.collect(),
            classes: classes.collect(),
            memory: Some(self.applied.punt.memory.0),
            socket: Some(self.socket.clone()),
        }
    }

    /// What is set, as a configuration, in parts. What changes of neighbours and routes between two of them may be in either state; what is set
    /// of punting is as it was at its first part.
    pub(super) fn config_text(&self, session: &mut Session, params: Params) -> Answer {
        let Paging { after, .. } = one(params)?;
        let mut place = after.map_or(Ok(Place::Start), |after| cursor(&after))?;
        let mut text = String::new();
        if place == Place::Start {
            text += &config::write::head(&self.eal, &self.sizes);
            place = Place::Interface(0);
        }
        if let Place::Interface(after) = place {
            for facts in self.model.interfaces_after(after) {
                if text.len() >= PART {
                    return part(text, Some(place));
                }
                place = Place::Interface(facts.index);
                text += &self
                    .model
                    .saved_interface(facts.index)
                    .map_or(String::new(), |it| config::write::interface(&it));
            }
            place = Place::Neighbor(0, IpAddr::from([0; 4]));
        }
        if let Place::Neighbor(index, address) = place {
            for (key, NeighborRow { address, mac, interface }) in
                self.model.neighbors_after(Some((index, address)))
            {
                if text.len() >= PART {
                    return part(text, Some(place));
                }
                place = Place::Neighbor(key.0, key.1);
                text += &config::write::neighbor(&Neighbor { address, mac, interface });
            }
        }
        if let Place::Punting(start) = place {
            return self.punting_part(session, String::new(), start);
        }
        let after = if let Place::Route(key) = place { Some(key) } else { None };
        for (key, route) in self.model.saved_routes_after(after) {
            if text.len() >= PART {
                return part(text, Some(place));
            }
            place = Place::Route(key);
            text += &config::write::route(&route);
        }
        self.punting_part(session, text, 0)
    }

    /// What is set of punting from the byte `start` on, as much as fits behind `text`, in whole lines.
    fn punting_part(&self, session: &mut Session, mut text: String, start: usize) -> Answer {
        let whole = match session.going.take() {
            kept if start > 0 && !kept.is_empty() => kept,
            _ => self.punting_text(),
        };
        let rest = whole.get(start..).unwrap_or_default();
        let room = PART.saturating_sub(text.len()).min(rest.len());
        let end = if room == rest.len() {
            room
        } else {
            rest.as_bytes()[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
        };
        text += &rest[..end];
        let more = end < rest.len();
        if more {
            session.going.push(&whole)?;
        }
        part(text, more.then_some(Place::Punting(start + end)))
    }
}

fn part(text: String, after: Option<Place>) -> Answer {
    answer(&ConfigPart { text, after: after.map(|place| place.to_string()) })
}

/// The last item of a part of a configuration.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    Interface(u32),
    Neighbor(u32, IpAddr),
    Route(Key),
    /// Of punting, all up to this byte.
    Punting(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => f.write_str("start"),
            Place::Interface(index) => write!(f, "interface {index}"),
            Place::Neighbor(index, address) => write!(f, "neighbor {index} {address}"),
            Place::Route(key) => write!(f, "route {key}"),
            Place::Punting(start) => write!(f, "punting {start}"),
        }
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (kind, rest) = text.split_once(' ').ok_or(())?;
        let place = match kind {
            "interface" => rest.parse().ok().map(Place::Interface),
            "neighbor" => rest.split_once(' ').and_then(|(index, address)| {
                Some(Place::Neighbor(index.parse().ok()?, address.parse().ok()?))
            }),
            "route" => rest.parse().ok().map(Place::Route),
            "punting" => rest.parse().ok().map(Place::Punting),
            _ => None,
        };
        place.ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_and_never_ends_leaves_room_for_others() {
        let part = |text: &str, more| ConfigText { text: text.into(), name: "big".into(), more };
        let megabyte = "#".repeat(1 << 20);
        let file = "[interface.lan]\nmtu = 1400\n";
        // Each sends as much as it may, and a part fewer than would lose it all.
        let mut greedy = Vec::new();
        for room in [128, 64, 32, 16, 8, 4] {
            let mut session = Session::default();
            for _ in 0..room - 1 {
                assert!(session.receive(part(&megabyte, true)).expect("there is room").is_none());
            }
            greedy.push(session);
            let whole = Session::default().receive(part(file, false)).expect("there is room");
            assert_eq!(whole, Some((file.into(), "big".into())));
        }
        let said = greedy[0].receive(part(&megabyte, true)).expect_err("it has had its share").message;
        assert!(said.starts_with("a configuration may have "), "{said}");
        assert!(greedy[0].receive(part(&megabyte, true)).is_ok(), "it begins anew");
        drop(greedy);
        assert_eq!(HELD.load(Ordering::Relaxed), 0, "who goes takes it along");
    }
}
