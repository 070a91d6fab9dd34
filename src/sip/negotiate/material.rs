//! What our keys are cut from, whichever suite is agreed.
//!
//! A key that starts counts its packets from 0: started twice, it would repeat its keystream (RFC 3711 section 9.1). So
//! what was in use and is no more gives way to fresh material.

use crate::private::Secret;
use crate::random::Random;
use crate::session::{Keys, Srtp, Suite};
use crate::wire::sdp;

#[derive(Clone, Debug)]
pub(super) struct Material {
    pub(super) secret: Secret<[u8; Keys::LONGEST]>,
    /// What comes after it is drawn from this.
    seed: Secret<[u8; 32]>,
    used: Use,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Offered at most.
    Fresh,
    Under(Suite),
    Spent,
}

impl Material {
    pub(super) fn draw(random: &mut Random) -> Material {
        Material { secret: sdp::draw(random), seed: Secret(random.octets()), used: Use::Fresh }
    }

    /// The suite in use.
    pub(super) fn suite(&self) -> Option<Suite> {
        match self.used {
            Use::Under(suite) => Some(suite),
            Use::Fresh | Use::Spent => None,
        }
    }

    /// The key to go into a crypto line: the one in use, if it is of this suite.
    pub(super) fn keys(&mut self, suite: Suite) -> Keys {
        if self.used == Use::Spent || self.suite().is_some_and(|known| known != suite) {
            *self = Material::draw(&mut Random::seeded(self.seed.0));
        }
        Keys::cut(suite, &self.secret)
    }

    /// What was agreed says whether our key is in use.
    pub(super) fn agreed(&mut self, srtp: Option<&Srtp>) {
        self.used = match (srtp, self.used) {
            (Some(srtp), _) => Use::Under(srtp.send.suite()),
            (None, Use::Fresh) => Use::Fresh,
            (None, Use::Under(_) | Use::Spent) => Use::Spent,
        };
    }
}
