//! Doing a change of a route to the model alone.

use std::net::IpAddr;

use punt::control::types::{Route, RouteAction, RouteKey};

use super::hops::Target;
use super::rib::{Candidate, Key, Source};
use super::stage::Staging;
use super::{Life, Model};
use crate::config::no_match;
use crate::nodes::unrouted::never_matches;
use crate::tables::MAX_PATHS;

/// Next hops whose interface is remembered.
const MAX_RESOLVED: usize = 65_536;

impl Model {
    pub(super) fn set_route(&mut self, route: Route, life: Life, replace: bool) -> Staging {
        route.check()?;
        let Route { prefix, via, dev, metric, action } = route;
        if let Some(why) = never_matches(prefix) {
            return Err(no_match(prefix, why));
        }
        let key = Key { prefix, source: Source::Static, number: metric.unwrap_or(0) };
        if via.len() > MAX_PATHS {
            return Err(format!("{prefix} has {} next hops; at most {MAX_PATHS} are possible", via.len()));
        }
        let interfaces = via.iter().map(|via| self.resolve(*via, dev.as_deref()));
        let interfaces =
            interfaces.collect::<Result<Vec<_>, _>>().map_err(|fault| format!("{prefix}: {fault}"))?;
        let target = match (action, &*via) {
            (Some(RouteAction::Blackhole), _) => Target::Blackhole,
            (Some(RouteAction::Unreachable), _) => Target::Unreachable,
            (Some(RouteAction::Punt), _) => Target::Punt,
            (None, [via]) => Target::Neighbor(interfaces[0], *via),
            (None, _) => {
                let members = interfaces
                    .iter()
                    .zip(&via)
                    .map(|(&index, &via)| self.acquire(Target::Neighbor(index, via)));
                Target::Ecmp(members.collect::<Vec<_>>().into())
            }
        };
        let members = match &target {
            Target::Ecmp(members) => members.to_vec(),
            _ => Vec::new(),
        };
        let before = self.put(key, target, dev.is_some(), life);
        members.into_iter().for_each(|member| self.hops.release(member));
        match (before, key.number) {
            (Some(_), 0) if !replace => Err(format!("{prefix} exists; use replace")),
            (Some(_), metric) if !replace => {
                Err(format!("{prefix} with metric {metric} exists; use replace"))
            }
            _ => Ok(()),
        }
    }

    /// The interface by which a next hop is reached.
    fn resolve(&mut self, via: IpAddr, dev: Option<&str>) -> Result<u32, String> {
        if let Some(&index) = self.resolved.get(&via).filter(|_| dev.is_none()) {
            return Ok(index);
        }
        let named = dev.map(|dev| self.named(dev)).transpose()?;
        if let Some(owner) = self.owner(via, named.unwrap_or(0)) {
            return Err(format!(
                "{via} is this router's own address on {}; name a neighbour's",
                self.interfaces.name(owner)
            ));
        }
        if let Some(index) = named {
            return Ok(index);
        }
        let index = self.rib.connected(via);
        let index =
            index.ok_or_else(|| format!("no interface's subnet holds {via}; name the interface with dev"))?;
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.clear();
        }
        self.resolved.insert(via, index);
        Ok(index)
    }

    pub(super) fn del_route(&mut self, key: RouteKey) -> Staging {
        let RouteKey { prefix, metric } = key;
        let route = match metric {
            Some(metric) => Some(Key { prefix, source: Source::Static, number: metric })
                .filter(|key| self.rib.get(key).is_some()),
            None => self.rib.statics(prefix).next().map(|(key, _)| key),
        };
        let Some(key) = route else {
            return Err(match (metric, self.rib.best(prefix)) {
                (Some(metric), _) => format!("there is no route {prefix} with metric {metric}"),
                (None, Some((key, _))) if key.source != Source::Neighbor => {
                    format!(
                        "{prefix} comes from an address of {}; delete that",
                        self.interfaces.name(key.number)
                    )
                }
                _ => format!("there is no route {prefix}"),
            });
        };
        self.change_route(key, None);
        Ok(())
    }

    /// What `config apply` finds as it should be, but of another life or wording.
    pub(super) fn adopt_route(&mut self, key: Key, dev_named: bool) {
        if let Some(route) = self.rib.get(&key) {
            self.rib.set(key, Some(Candidate { life: Life::Config, dev_named, ..route }));
        }
    }
}
