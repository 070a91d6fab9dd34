//! Writing a message: elements in the order of their identifiers (Q.931 section 4.5.1), repeated ones as they were given.

use super::element::{Element, id};
use super::message::{Kind, Reference};

/// Octets of the longest message: N201 of Q.921.
pub const LONGEST: usize = 260;

/// What a message that would be too long goes without, the first first.
const SPARED: [u8; 4] = [id::USER_USER, id::FACILITY, id::DISPLAY, id::LOW_LAYER_COMPATIBILITY];

/// A message that is being written.
#[derive(Clone, Debug)]
pub struct Builder {
    reference: Reference,
    kind: Kind,
    elements: Vec<(u8, Vec<u8>)>,
}

impl Builder {
    /// A message without elements.
    pub fn new(reference: Reference, kind: Kind) -> Builder {
        Builder { reference, kind, elements: Vec::new() }
    }

    /// Adds an element. One with more than 255 octets is left out.
    #[must_use]
    pub fn with<E: Element>(mut self, element: &E) -> Builder {
        let mut contents = Vec::new();
        element.write(&mut contents);
        if contents.len() <= usize::from(u8::MAX) {
            self.elements.push((E::ID, contents));
        }
        self
    }

    /// Adds an element if there is one; further ones of a repeated kind likewise.
    #[must_use]
    pub fn with_all<'e, E: Element + 'e>(self, elements: impl IntoIterator<Item = &'e E>) -> Builder {
        elements.into_iter().fold(self, Builder::with)
    }

    /// The message for Q.921, at most [`LONGEST`] octets: what is said for people's eyes gives way to what makes calls.
    pub fn octets(mut self) -> Vec<u8> {
        for spared in SPARED {
            if self.length() > LONGEST {
                self.elements.retain(|(id, _)| *id != spared);
            }
        }
        self.elements.sort_by_key(|(id, _)| *id);
        let mut octets = Vec::with_capacity(self.length());
        octets.extend([self.kind.discriminator(), 2]);
        octets.extend(self.reference.octets());
        octets.push(self.kind.code());
        for (id, contents) in &self.elements {
            octets.push(*id);
            if let Some(length) = length(*id, contents) {
                octets.push(length);
                octets.extend_from_slice(contents);
            }
        }
        octets
    }

    fn length(&self) -> usize {
        let of = |(id, contents): &(u8, Vec<u8>)| length(*id, contents).map_or(1, |length| 2 + usize::from(length));
        5 + self.elements.iter().map(of).sum::<usize>()
    }
}

/// The length octet; elements of one octet have none.
fn length(id: u8, contents: &[u8]) -> Option<u8> {
    if id & 0x80 == 0 { u8::try_from(contents.len()).ok() } else { None }
}
