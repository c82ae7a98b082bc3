//! Punting on the control socket: reasons, classes, policers, sinks, registrations, the passive punt, and sessions.

use std::collections::HashMap;
use std::time::Instant;

use punt::Target;
use punt::control::types::{
    ClassSet, Life, PassiveFamily, PassiveKey, PassiveRow, PassiveSet, Policed, PolicerSet, ReasonSet,
    Register, RegisterAnswer, SessionAnswer, SessionResume, SinkAdd, SinkAnswer, SinkKey, SourceFilter,
    Unregister,
};
use punt::control::{RpcError, many, one};
use punt::desk::{self, Desk, Towards, Wanted, limit_of};
use punt::sink::Interface;

use super::configuration::Session;
use super::methods::{Answer, Params, answer, page_by, page_in_order, page_of};
use super::model::Model;
use super::ranking::Rank;
use super::sessions::Sessions;
use super::{Control, Refused};
use crate::config::would_lack_tags;
use crate::nodes::redirect::AS_IT_CAME;

impl From<desk::Refused> for Refused {
    fn from(refused: desk::Refused) -> Refused {
        Refused::new(refused.0)
    }
}

impl Control {
    /// Answers the methods of punting; none for another method.
    pub(super) fn punting(&mut self, session: &mut Session, method: &str, params: Params) -> Option<Answer> {
        Some(match method {
            "reason.list" | "stats.reasons" => page_by(params, self.desk.reason_rows(), |row| row.id),
            "reason.set" => self.change(params, |control, it: ReasonSet| {
                control.desk.check_class(&it)?;
                Ok(control.desk.set_reason(&it)?)
            }),
            "class.list" => page_in_order(params, self.desk.class_rows(), |row| row.name.to_string()),
            "class.set" => self.change(params, |control, it: ClassSet| Ok(control.desk.set_class(&it)?)),
            "policer.list" => page_by(params, self.desk.policer_rows(), |row| row.what.clone()),
            "policer.set" => {
                self.change(params, |control, it: PolicerSet| Ok(control.desk.set_policer(&it)?))
            }
            "sink.list" | "stats.sinks" => page_by(params, self.desk.sink_list(), |row| row.name.clone()),
            "sink.add" => self.sink_add(session, params),
            "sink.del" => self.change(params, |control, it: SinkKey| {
                control.desk.delete_sink(&it.name)?;
                control.sessions.forget_sink(&it.name);
                Ok(())
            }),
            "register" => self.register(session, params),
            "unregister" => self.change(params, |control, it: Unregister| {
                control.desk.unregister(it.id)?;
                control.sessions.forget(it.id);
                Ok(())
            }),
            "registration.list" => page_by(params, self.desk.registration_list(), |row| row.id),
            "passive.list" => page_by(params, self.desk.passive_list(), passive_key),
            "passive.set" => self.change(params, |control, it: PassiveSet| {
                it.check().map_err(Refused::new)?;
                set_passive(&mut control.model, &mut control.desk, &it, Life::Operator)
            }),
            "passive.del" => self.change(params, |control, it: PassiveKey| {
                Ok(control.desk.delete_passive(it.family, it.interface.as_deref())?)
            }),
            "stats.sources" => self.sources(params),
            "session.resume" => self.resume(session, params),
            _ => return None,
        })
    }

    fn sources(&self, params: Params) -> Answer {
        let filter: SourceFilter = one(params)?;
        let name = |index| self.model.name_of(index).unwrap_or_else(|| format!("interface {index}"));
        let rows = self.desk.source_rows(filter.reason.as_deref(), name).map_err(Refused::from)?;
        page_of(filter.paging(), rows, Rank::of)
    }

    /// Does one thing for each item, all or none.
    fn change<T: serde::de::DeserializeOwned>(
        &mut self,
        params: Params,
        mut one: impl FnMut(&mut Control, T) -> Result<(), Refused>,
    ) -> Answer {
        self.together(many(params)?, |control, item| one(control, item))?;
        answer(&())
    }

    /// Does it for all items, or for none.
    fn together<T, U>(
        &mut self,
        items: Vec<T>,
        mut one: impl FnMut(&mut Control, T) -> Result<U, Refused>,
    ) -> Result<Vec<U>, RpcError> {
        let several = items.len() > 1;
        self.together_or(several, items, &mut one)
    }

    /// The same; only if it is to `remember` what was before can it put back what one item that is refused has changed.
    fn together_or<T, U>(
        &mut self,
        remember: bool,
        items: Vec<T>,
        one: &mut impl FnMut(&mut Control, T) -> Result<U, Refused>,
    ) -> Result<Vec<U>, RpcError> {
        let several = items.len() > 1;
        let before = remember.then(|| self.remember_punting());
        let mut done = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match one(self, item) {
                Ok(it) => done.push(it),
                Err(refused) => {
                    if let Some(before) = before {
                        self.restore_punting(before);
                    }
                    self.commit_punting();
                    return Err(Refused { index: several.then_some(index), ..refused }.into());
                }
            }
        }
        self.commit_punting();
        Ok(done)
    }

    /// What is asked for, and by which sessions, in case that what follows is refused.
    pub(super) fn remember_punting(&mut self) -> (desk::Before, Sessions) {
        (self.desk.remember(), self.sessions.clone())
    }

    /// Puts back what was asked for, and whose it was.
    pub(super) fn restore_punting(&mut self, (desk, sessions): (desk::Before, Sessions)) {
        self.desk.restore(desk);
        self.sessions = sessions;
        self.let_ways_go();
    }

    /// Lets workers see what is set of punting, and lets go of what only they still used.
    pub(super) fn commit_punting(&mut self) {
        self.desk.commit();
        self.let_ways_go();
    }

    /// Lets go of ways by which nothing is redirected; workers have passed since something was.
    fn let_ways_go(&mut self) {
        let desk = &self.desk;
        self.model.let_ways_go(|way| desk.ways().any(|used| used == way));
    }

    fn sink_add(&mut self, session: &mut Session, params: Params) -> Answer {
        let items: Vec<SinkAdd> = many(params)?;
        let token = self.token(session, items.iter().any(|it| it.life == Life::Session))?;
        let single = items.len() == 1;
        let remember = !single || items.iter().any(|it| self.is_left_behind(it));
        let added = self.together_or(remember, items, &mut |control, it| {
            if it.life == Life::Config {
                return Err(Refused::new("life is config; only a configuration file makes such sinks"));
            }
            match control.is_left_behind(&it) {
                true => control.take_up(&it)?,
                false => add_sink(&control.model, &mut control.desk, &it)?,
            }
            Ok(it)
        });
        let added = added.inspect_err(|_| self.discard_session(session))?;
        let mut answers = Vec::new();
        for it in added {
            let token = token.clone().filter(|_| it.life == Life::Session);
            if let Some(token) = &token {
                self.sessions.add_sink(token, &it.name);
            }
            answers.push(SinkAnswer { inject: self.desk.inject_of(&it.name), name: it.name, token });
        }
        match answers.as_slice() {
            [one] if single => answer(one),
            several => answer(&several),
        }
    }

    fn register(&mut self, session: &mut Session, params: Params) -> Answer {
        let items: Vec<Register> = many(params)?;
        let token = self.token(session, items.iter().any(|it| it.life == Life::Session))?;
        let single = items.len() == 1;
        let made = self.together(items, |control, it| {
            if it.life == Life::Config {
                return Err(Refused::new(
                    "life is config; only a configuration file makes such registrations",
                ));
            }
            let life = it.life;
            // For others whom it is in the way of.
            let owner = if life == Life::Session { "a session" } else { "operator" };
            let id = register(&control.model, &mut control.desk, it, life, owner)?;
            Ok((id, life))
        });
        let made = made.inspect_err(|_| self.discard_session(session))?;
        let mut answers = Vec::new();
        for (id, life) in made {
            let token = token.clone().filter(|_| life == Life::Session);
            if let Some(token) = &token {
                self.sessions.add_registration(token, id);
            }
            answers.push(RegisterAnswer { id, token });
        }
        match answers.as_slice() {
            [one] if single => answer(one),
            several => answer(&several),
        }
    }

    /// The session's token, made if it is needed.
    fn token(&mut self, session: &mut Session, needed: bool) -> Result<Option<String>, RpcError> {
        if needed && session.token.is_none() {
            session.token = Some(self.sessions.open().map_err(RpcError::refused)?);
        }
        Ok(session.token.clone())
    }

    /// What a session was opened for is refused: if it holds nothing else, it need not be.
    fn discard_session(&mut self, session: &mut Session) {
        if session.token.as_ref().is_some_and(|token| self.sessions.discard(token)) {
            session.token = None;
        }
    }

    fn resume(&mut self, session: &mut Session, params: Params) -> Answer {
        let SessionResume { token } = one(params)?;
        if session.token.is_some() {
            return Err(RpcError::refused(
                "this connection has a session already; resume the other on a connection of its own"
                    .to_owned(),
            ));
        }
        let (sinks, registrations) = self.sessions.resume(&token).ok_or_else(|| {
            RpcError::refused(format!(
                "there is no session {token:?} to resume; it may have ended more than 60 s ago, or still be open"
            ))
        })?;
        self.desk.suspend(&registrations, false);
        self.desk.commit();
        session.token = Some(token.clone());
        answer(&SessionAnswer { token, sinks, registrations })
    }

    /// A connection has gone: what it made for itself is suspended.
    pub(super) fn leave(&mut self, session: Session) {
        if let Some(token) = &session.token
            && let Some(registrations) = self.sessions.close(token, Instant::now())
        {
            self.desk.suspend(&registrations, true);
            self.desk.commit();
        }
    }

    /// Removes what belongs to sessions that nobody took up again in time.
    pub(super) fn expire_sessions(&mut self, now: Instant) {
        let expired = self.sessions.expire(now);
        if !expired.is_empty() {
            expired.iter().for_each(|(sinks, registrations)| self.end_session(sinks, registrations));
            self.desk.commit();
        }
    }

    /// Whether a client asks for a sink that it, or the one before it, left behind: of that name and at that target.
    fn is_left_behind(&self, wanted: &SinkAdd) -> bool {
        let same = |target: &Target| *target == wanted.target;
        wanted.life == Life::Session
            && self.desk.target_of(&wanted.name).is_some_and(same)
            && self.sessions.has_left(&wanted.name)
    }

    /// A client that has no token any more makes its sink again: what it left behind goes at once, but for what others registered there, which
    /// is its own again.
    fn take_up(&mut self, wanted: &SinkAdd) -> Result<(), Refused> {
        if let Some((sinks, registrations)) = self.sessions.take_left(&wanted.name) {
            self.end_session(&sinks, &registrations);
        }
        if self.desk.target_of(&wanted.name).is_none() {
            return add_sink(&self.model, &mut self.desk, wanted);
        }
        self.sessions.forget_sink(&wanted.name);
        Ok(self.desk.take_over_sink(wanted)?)
    }

    /// Removes what a client had that has left: registrations, and those sinks that nobody else uses. The others are the users' from now on.
    fn end_session(&mut self, sinks: &[String], registrations: &[u32]) {
        for id in registrations {
            // An operator may have unregistered it meanwhile.
            let _ = self.desk.unregister(*id);
        }
        for sink in sinks {
            if let Err(used) = self.desk.delete_sink(sink) {
                log::info!("a session has ended, and its sink stays for others: {used}");
                self.desk.leave_sink(sink);
                self.sessions.leave_behind(sink);
            }
        }
    }

    /// Tells sinks' threads which interfaces there are, and the passive punt which are parts of which.
    pub(super) fn tell_interfaces(&mut self) {
        let facts = self.model.interfaces_after(0);
        let named = facts.map(|it| {
            let (name, mac, mtu) = (it.name.to_owned(), it.effective.mac.0, it.effective.mtu as u32);
            (it.index, Interface { name, mac, mtu })
        });
        self.names.set_interfaces(named.collect::<HashMap<_, _>>());
        self.desk.set_parents(self.model.parents().collect());
        self.desk.commit();
    }
}

/// What a passive entry is known by.
fn passive_key(row: &PassiveRow) -> Policed {
    Policed::Passive { family: row.family, interface: row.interface.clone() }
}

/// Adds a sink that a client or a file asks for.
pub(super) fn add_sink(model: &Model, desk: &mut Desk, it: &SinkAdd) -> Result<(), Refused> {
    interface(model, it.target.interface())?;
    Ok(desk.add_sink(it)?)
}

/// Registers what a client or a file asks for.
pub(super) fn register(
    model: &Model,
    desk: &mut Desk,
    it: Register,
    life: Life,
    owner: &str,
) -> Result<u32, Refused> {
    it.check().map_err(Refused::new)?;
    let wanted = Wanted {
        interface: interface(model, it.interface.as_deref())?,
        limit: limit_of(it.rate, it.burst),
        matching: it.r#match,
        sink: it.sink,
        source: it.source,
        snaplen: it.snaplen,
        exclusive: it.exclusive,
        life,
        owner: owner.to_owned(),
    };
    Ok(desk.register(wanted)?)
}

/// Sets what becomes of packets that nothing claimed.
pub(super) fn set_passive(
    model: &mut Model,
    desk: &mut Desk,
    it: &PassiveSet,
    life: Life,
) -> Result<(), Refused> {
    let ingress = interface(model, it.interface.as_deref())?;
    let to = match (&it.sink, &it.redirect) {
        (Some(sink), _) => Towards::Sink(sink.clone()),
        (None, Some(redirect)) => {
            let (index, name) = interface(model, Some(redirect))?.unwrap_or_default();
            let way = match it.via {
                Some(via) => model.way(index, via)?,
                None => as_it_came(model, it.family, (index, &name))?,
            };
            Towards::Redirect { interface: name, via: it.via, way }
        }
        (None, None) => Towards::Drop,
    };
    Ok(desk.set_passive(it.family, ingress, to, it.rate, it.burst, life)?)
}

/// The number of the way out of an interface with the header that a frame came with. A sub-interface has tags, which it may not have.
fn as_it_came(model: &Model, family: PassiveFamily, (index, name): (u32, &str)) -> Result<u32, Refused> {
    let parent = model.parents().find(|(child, _)| *child == index);
    let Some(parent) = parent.and_then(|(_, parent)| model.name_of(parent)) else {
        return Ok(index | AS_IT_CAME);
    };
    Err(Refused::new(would_lack_tags(family, name, &parent)))
}

/// The index and name of an interface that somebody named.
pub(super) fn interface(model: &Model, name: Option<&str>) -> Result<Option<(u32, String)>, Refused> {
    name.map(|name| Ok((model.known(name)?, name.to_owned()))).transpose()
}
