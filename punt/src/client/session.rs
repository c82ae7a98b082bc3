//! A client's own connection to the engine: its sink and registrations live as long as that, and 60 s more for it to come back.

use std::path::Path;

use crate::control::types::{
    Life, Register, RegisterAnswer, SessionAnswer, SessionResume, SinkAdd, SinkAnswer, SinkKey, Unregister,
};
use crate::control::{self, ClientError};
use crate::matching::Match;
use crate::value::Prefix;

use super::Client;

/// A sink of our own, as long as this lives.
pub struct Session {
    control: control::Client,
    sink: String,
    token: Option<String>,
    registrations: Vec<u32>,
}

impl Session {
    /// Connects to the engine at `socket` and makes the sink `name`, whose packets go to `client`.
    ///
    /// # Errors
    /// `NoEngine` if nobody is there, `Refused` with the engine's words.
    pub fn open(
        socket: impl AsRef<Path>,
        name: &str,
        client: &mut Client,
    ) -> Result<Session, Box<dyn std::error::Error + Send + Sync>> {
        let mut control = control::Client::connect(socket)?;
        let sink = SinkAdd {
            name: name.into(),
            target: client.target().parse()?,
            rate: None,
            burst: None,
            life: Life::Session,
        };
        let answer: SinkAnswer = control.call_as("sink.add", sink)?;
        if let Some(inject) = &answer.inject {
            client.inject_at(inject)?;
        }
        Ok(Session { control, sink: name.into(), token: answer.token, registrations: Vec::new() })
    }

    /// Connects again within 60 s after the connection was lost, and takes back what `token` stands for, with ids and counters.
    ///
    /// # Errors
    /// `NoEngine` if nobody is there, `Refused` if it is too late.
    pub fn resume(
        socket: impl AsRef<Path>,
        name: &str,
        token: &str,
    ) -> Result<(Session, SessionAnswer), ClientError> {
        let mut control = control::Client::connect(socket)?;
        let answer: SessionAnswer =
            control.call_as("session.resume", SessionResume { token: token.into() })?;
        let token = Some(answer.token.clone()).filter(|token| !token.is_empty());
        let registrations = answer.registrations.clone();
        Ok((Session { control, sink: name.into(), token, registrations }, answer))
    }

    /// What [`resume`](Session::resume) takes.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Asks for these packets, with the limit of their reason. Returns the registration's id.
    ///
    /// # Errors
    /// `Refused` with the engine's words, or `Broken`.
    pub fn register(&mut self, wanted: Match) -> Result<u32, ClientError> {
        self.register_from(wanted, None, None)
    }

    /// The same, only from an interface or from these sources.
    ///
    /// # Errors
    /// As [`register`](Session::register).
    pub fn register_from(
        &mut self,
        wanted: Match,
        interface: Option<&str>,
        source: Option<Prefix>,
    ) -> Result<u32, ClientError> {
        self.register_with(Register {
            r#match: wanted,
            sink: self.sink.clone(),
            rate: None,
            burst: None,
            interface: interface.map(Into::into),
            source,
            snaplen: None,
            exclusive: false,
            life: Life::Session,
        })
    }

    /// The same, with everything that a registration may have.
    ///
    /// # Errors
    /// As [`register`](Session::register).
    pub fn register_with(&mut self, wanted: Register) -> Result<u32, ClientError> {
        let answer: RegisterAnswer = self.control.call_as("register", wanted)?;
        self.token = answer.token.or(self.token.take());
        self.registrations.push(answer.id);
        Ok(answer.id)
    }

    /// Ends a registration.
    ///
    /// # Errors
    /// As [`register`](Session::register).
    pub fn unregister(&mut self, id: u32) -> Result<(), ClientError> {
        self.control.call("unregister", Unregister { id })?;
        self.registrations.retain(|other| *other != id);
        Ok(())
    }

    /// Ends all registrations, if somebody else has not ended them already; what was accepted before still comes.
    ///
    /// # Errors
    /// `Broken`, when the engine has gone.
    pub fn unregister_all(&mut self) -> Result<(), ClientError> {
        for id in std::mem::take(&mut self.registrations) {
            match self.unregister(id) {
                Ok(()) | Err(ClientError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends all registrations and the sink at once, so that its name is free again. Merely dropped, a session stays for 60 s to come back to.
    ///
    /// # Errors
    /// As [`register`](Session::register).
    pub fn close(mut self) -> Result<(), ClientError> {
        self.unregister_all()?;
        self.control.call("sink.del", SinkKey { name: self.sink }).map(drop)
    }

    /// The connection, for everything else.
    pub fn control(&mut self) -> &mut control::Client {
        &mut self.control
    }
}
