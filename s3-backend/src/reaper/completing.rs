//! [`Completing`]: an upload is being joined, perhaps by several calls at once, and is not aborted meanwhile.

use std::cell::Cell;
use std::rc::Rc;

use super::{Reaper, Stage, Upload};

/// A completion under way; dropped without a word once it was [sent](Self::sent) it may have been applied.
pub(crate) struct Completing<'a> {
    reaper: &'a Reaper,
    upload: &'a Rc<Upload>,
    sent: Cell<bool>,
    verdict: Option<Verdict>,
}

/// What came of completions, the worse first: what one has done outweighs what the others were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing for certain.
    Refused,
    InDoubt,
    Joined,
}

/// The completions of one upload that have not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completions {
    under_way: u32,
    /// The stage before the first of them, to which the upload returns if all are refused.
    before: Stage,
    /// Of those that have ended.
    verdict: Verdict,
}

impl Completions {
    pub(super) fn new() -> Completions {
        Completions { under_way: 0, before: Stage::Free, verdict: Verdict::Refused }
    }
}

impl Upload {
    /// As [`enter`](Self::enter), but while the upload is being joined only for the time after.
    pub(super) fn enter_unless_joined(&self, stage: Stage) -> Stage {
        if self.stage() != Stage::Completing {
            return self.enter(stage);
        }
        let completions = self.completions.get();
        self.completions.set(Completions { before: stage, ..completions });
        completions.before
    }

    /// The stage, or while the upload is being joined the one that it returns to.
    pub(super) fn stage_unless_joined(&self) -> Stage {
        match self.stage() {
            Stage::Completing => self.completions.get().before,
            stage => stage,
        }
    }

    fn begin_completion(&self) {
        let mut completions = self.completions.get();
        if completions.under_way == 0 {
            completions = Completions { before: self.enter(Stage::Completing), ..Completions::new() };
        }
        completions.under_way += 1;
        self.completions.set(completions);
    }

    /// With the last of them the stage is decided: gives the one before the first, and the one now.
    fn end_completion(&self, verdict: Verdict) -> Option<(Stage, Stage)> {
        let mut completions = self.completions.get();
        completions.under_way -= 1;
        completions.verdict = completions.verdict.max(verdict);
        self.completions.set(completions);
        if completions.under_way > 0 {
            return None;
        }
        let now = match completions.verdict {
            Verdict::Refused => completions.before,
            Verdict::InDoubt => Stage::InDoubt,
            Verdict::Joined => Stage::Over,
        };
        self.enter(now);
        Some((completions.before, now))
    }
}

impl<'a> Completing<'a> {
    pub(super) fn new(reaper: &'a Reaper, upload: &'a Rc<Upload>) -> Completing<'a> {
        upload.begin_completion();
        reaper.0.state.borrow_mut().completing += 1;
        Completing { reaper, upload, sent: Cell::new(false), verdict: None }
    }

    /// To be set when the request is sent: until then it is as good as refused.
    pub(crate) fn sent(&self) -> &Cell<bool> {
        &self.sent
    }

    pub(crate) fn completed(mut self) {
        self.verdict = Some(Verdict::Joined);
    }

    /// It was refused for certain.
    pub(crate) fn refused(mut self) {
        self.verdict = Some(Verdict::Refused);
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        let unknown = if self.sent.get() { Verdict::InDoubt } else { Verdict::Refused };
        let decided = self.upload.end_completion(self.verdict.unwrap_or(unknown));
        let mut state = self.reaper.0.state.borrow_mut();
        state.completing -= 1;
        let mut untied = None;
        if let Some((before, now)) = decided {
            match (before, now) {
                (Stage::InDoubt, Stage::InDoubt) => {}
                (_, Stage::InDoubt) => state.in_doubt += 1,
                (Stage::InDoubt, Stage::Over) => state.in_doubt -= 1,
                _ => {}
            }
            if now != Stage::Tied {
                untied = state.tied.remove(&Rc::as_ptr(self.upload).addr());
            }
        }
        drop(state);
        drop(untied);
        self.reaper.0.changed();
    }
}
