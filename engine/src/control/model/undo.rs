//! A batch that is done, and may yet have to be undone because of what comes after it.
//!
//! What it changed is kept as it was, lives included, and put back as another batch. To find the way back by another configuration would
//! not do: that knows neither what operators made nor what they took away.

use super::rib::Changed;
use super::{Model, Op, Refused, Staged};

/// What a batch has changed, as it was before. The hops of routes that it took away are held until it is [kept](Model::keep) or
/// [undone](Model::undo).
#[must_use]
pub struct Undo(Staged);

impl Model {
    /// Does all of `ops` as [`batch`](Model::batch) does, if what is there then `fits`.
    ///
    /// # Errors
    /// Those of `batch`, and what `fits` returns; everything is as it was then.
    pub(super) fn batch_for_now(
        &mut self,
        ops: impl IntoIterator<Item = Op>,
        fits: impl FnOnce(&Model) -> Result<(), Refused>,
    ) -> Result<Undo, Refused> {
        self.stage_all(ops, fits)?;
        let done = self.commit_staged();
        if let Ok(staged) = &done {
            held(staged).for_each(|hop| self.hops.add_user(hop));
        }
        self.forget_hops();
        done.map(Undo).map_err(Refused::new)
    }

    /// What was done stays.
    pub(super) fn keep(&mut self, undo: Undo) {
        held(&undo.0).for_each(|hop| self.hops.release(hop));
        self.forget_hops();
    }

    /// Makes everything what it was before. Nothing else may have been changed since, but for ways that have been let go again.
    pub(super) fn undo(&mut self, undo: Undo) {
        self.resolved.clear();
        for &(key, Changed { route, .. }) in undo.0.routes.iter().rev() {
            if let Some(before) = route {
                self.hops.add_user(before.hop);
            }
            self.change_route(key, route);
        }
        for (&place, &before) in &undo.0.neighbors {
            let now = self.neighbors.set(place, before);
            self.staged.neighbors.entry(place).or_insert(now);
        }
        for (&index, before) in &undo.0.interfaces {
            self.touch_interface(index);
            self.put_interface(index, before.clone());
        }
        if let Err(fault) = self.commit() {
            log::error!("what a refused change has changed already cannot be put back: {fault}");
        }
        self.keep(undo);
    }
}

/// The hops of routes that were there before.
fn held(staged: &Staged) -> impl Iterator<Item = u32> {
    staged.routes.iter().filter_map(|(_, changed)| changed.route.map(|route| route.hop))
}
