//! Facility (Q.932 section 8.2.3): supplementary services as ROSE components, passed as they are.

use super::element::{Element, id};
use super::rose::{Component, Values};
use crate::private::Private;

/// Components of ETSI and ITU-T services follow.
const SUPPLEMENTARY: u8 = 0x91;
/// Components of QSIG and of North America's networks follow.
const NETWORKING: u8 = 0x9f;
/// Nortel's: a service identifier follows, that of release link trunk.
const RELEASE_LINK: [u8; 2] = [0x11, 0xbe];
/// To whom, of private exchanges in a row: from end to end.
const END_TO_END: [u8; 8] = [0xaa, 0x06, 0x80, 0x01, 0x00, 0x82, 0x01, 0x00];
/// Who does not know the component shall drop it without a word.
const DISCARD: [u8; 3] = [0x8b, 0x01, 0x00];

/// Whose components they are: operations have numbers of their own in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// ETSI, ITU-T.
    Supplementary,
    /// QSIG, National ISDN.
    Networking,
    /// Release link trunk, of the DMS-100.
    ReleaseLink,
}

/// A facility element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facility(pub Private<Vec<u8>>);

impl Facility {
    /// One component of ETSI's.
    pub fn supplementary(component: &[u8]) -> Facility {
        Facility(Private([&[SUPPLEMENTARY], component].concat()))
    }

    /// One component of a North American network, or from one private exchange to another.
    pub fn networking(private: bool, component: &[u8]) -> Facility {
        let entities: &[u8] = if private { &END_TO_END } else { &[] };
        Facility(Private([&[NETWORKING], entities, &DISCARD, component].concat()))
    }

    /// One component of the DMS-100's release link trunk.
    pub fn release_link(component: &[u8]) -> Facility {
        Facility(Private([&RELEASE_LINK, component].concat()))
    }

    /// Whose components it holds; `None` for protocols that are not ROSE.
    pub fn profile(&self) -> Option<Profile> {
        if self.0.get().starts_with(&RELEASE_LINK) {
            return Some(Profile::ReleaseLink);
        }
        match self.0.get().first()? | 0x80 {
            SUPPLEMENTARY => Some(Profile::Supplementary),
            NETWORKING => Some(Profile::Networking),
            _ => None,
        }
    }

    /// Its components; those that cannot be read are passed over.
    pub fn components(&self) -> impl Iterator<Item = Component<'_>> {
        let head = match self.0.get().first() {
            Some(0x80..) => 1,
            _ => 2,
        };
        let values = self.0.get().get(head..).filter(|_| self.profile().is_some()).unwrap_or_default();
        Values(values).filter_map(Component::read)
    }
}

impl Element for Facility {
    const ID: u8 = id::FACILITY;

    fn read(contents: &[u8]) -> Option<Facility> {
        (!contents.is_empty()).then(|| Facility(Private(contents.to_vec())))
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.extend_from_slice(self.0.get());
    }
}
