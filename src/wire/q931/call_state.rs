//! Call state (Q.931 section 4.5.7): what a side says of a call in STATUS.

use super::element::{Element, id};

/// A state of Q.931 section 2.1.1 and 2.1.2 by its number, as both roles count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallState(pub u8);

impl CallState {
    /// U0, N0; for the global reference REST 0.
    pub const NULL: CallState = CallState(0);
    /// U1, N1.
    pub const INITIATED: CallState = CallState(1);
    /// U2, N2.
    pub const OVERLAP_SENDING: CallState = CallState(2);
    /// U3, N3.
    pub const OUTGOING_PROCEEDING: CallState = CallState(3);
    /// U4, N4.
    pub const DELIVERED: CallState = CallState(4);
    /// U6, N6.
    pub const PRESENT: CallState = CallState(6);
    /// U7, N7.
    pub const RECEIVED: CallState = CallState(7);
    /// U8, N8.
    pub const CONNECT_REQUEST: CallState = CallState(8);
    /// U9, N9.
    pub const INCOMING_PROCEEDING: CallState = CallState(9);
    /// U10, N10.
    pub const ACTIVE: CallState = CallState(10);
    /// U11, N11.
    pub const DISCONNECT_REQUEST: CallState = CallState(11);
    /// U12, N12.
    pub const DISCONNECT_INDICATION: CallState = CallState(12);
    /// U15, N15.
    pub const SUSPEND_REQUEST: CallState = CallState(15);
    /// U17, N17.
    pub const RESUME_REQUEST: CallState = CallState(17);
    /// U19, N19.
    pub const RELEASE_REQUEST: CallState = CallState(19);
    /// N22: the network alone.
    pub const ABORT: CallState = CallState(22);
    /// U25, N25.
    pub const OVERLAP_RECEIVING: CallState = CallState(25);
    /// REST 1: a restart was asked for.
    pub const RESTART_REQUEST: CallState = CallState(0x3d);
    /// REST 2: a restart is being done.
    pub const RESTART: CallState = CallState(0x3e);
}

impl Element for CallState {
    const ID: u8 = id::CALL_STATE;

    fn read(contents: &[u8]) -> Option<CallState> {
        contents.first().map(|octet| CallState(octet & 0x3f))
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.push(self.0 & 0x3f);
    }
}
