//! What a caller from the telephone network hears before it is told that the call is refused: a tone, or words.
//!
//! 1. The called side refuses, and the configuration has an announcement for that status.
//! 2. The caller gets early media (183), if it has none yet, and hears it. `Announcing`
//! 3. After its length, or the longest time that is allowed, the refusal goes out with its cause.
//!
//! A caller that hangs up meanwhile is gone at once. One whose INVITE had no offer cannot hear anything before the end:
//! it is refused as ever, and so is Microsoft's side, whose users are told in words by their own telephones.

use std::time::Duration;

use super::b2bua::{Around, CALLER, Call, State};
use super::report::Heading;
use super::terms;
use crate::cause::Release;
use crate::config::Announced;
use crate::leg::{Fork, Order, Stage, Terms};
use crate::session::{Play, Side};

impl Call {
    /// The called side refuses, and nobody else is tried.
    pub(super) fn refused(&mut self, release: Release, by: &'static str, around: &mut Around<'_>) {
        match self.announcement(&release).zip(self.early_terms()) {
            Some(((play, length), terms)) => {
                self.note(format!("the caller hears why: {}", release.why), around);
                self.streams[Side::B.index()] = None;
                self.state = State::Announcing { release, by, play, until: around.now.mono + length };
                if self.stream(Side::A).is_some() {
                    self.apply(around);
                } else {
                    let (stage, fork) = (Stage::InBand, Fork::default());
                    self.order(
                        CALLER,
                        Order::Progress { stage, fork, terms: Some(terms), told: Box::default() },
                        around,
                    );
                }
            }
            None => self.end(release, by, around),
        }
    }

    /// What is to be heard of this refusal, and for how long.
    fn announcement(&self, release: &Release) -> Option<(Play, Duration)> {
        let before_answer = matches!(self.state, State::Hunting { .. } | State::Alerting { .. });
        if !before_answer || self.heading() != Heading::In || self.key_of(Side::B).is_none() {
            return None;
        }
        let announcements = &self.config.sounds.announcements;
        match announcements.of(release.final_status())? {
            Announced::Tone(tone) => Some((Play::Tone(tone), announcements.longest)),
            Announced::File(file) => {
                let sound = file.sound.clone()?;
                let length = sound.length().min(announcements.longest);
                Some((Play::Announcement(sound), length))
            }
        }
    }

    /// What the caller may agree on while nobody sits on the other side.
    fn early_terms(&self) -> Option<Terms> {
        let (wish, trunk) = (self.wish.as_ref()?, self.trunk_of(CALLER)?);
        let terms = terms::offer_to(wish, trunk, self.local(Side::A));
        wish.direction.sends().then_some(Terms { direction: wish.direction, ..terms })
    }
}
