//! What one side agreed becomes what the other side may: codecs, direction, addresses; and both
//! together become the media [`Session`]. Transcoding will widen `codecs` here and nowhere else.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Config, Switches, Trunk};
use crate::leg::{Terms, Wish};
use crate::session::{Codec, Direction, Session, Side, Stream, Watch};

/// A peer from which neither RTP nor RTCP came for this long is gone (Microsoft KB 981218).
pub(super) const DEAD_MEDIA: Duration = Duration::from_secs(30);

/// What to offer the called side: what the caller wants, as far as both trunks and the media plane
/// can. `None` when nothing is left. Without a wish (an INVITE without SDP) all that both can.
pub(super) fn offer_to_called(wish: Option<&Wish>, from: &Trunk, to: &Trunk, local: SocketAddr) -> Option<Terms> {
    let wanted = wish.map_or(&from.codecs, |wish| &wish.codecs);
    let codecs = common(wanted, |codec| from.codecs.contains(codec) && to.codecs.contains(codec))?;
    let direction = wish.map_or(Direction::SendRecv, |wish| wish.direction.reversed());
    Some(Terms { local, codecs, direction, telephone_event: true })
}

/// What one side may agree on, now that the other side speaks `agreed`.
pub(super) fn mirror(agreed: &Stream, local: SocketAddr) -> Terms {
    Terms { local, codecs: vec![agreed.codec], direction: agreed.direction.reversed(), telephone_event: true }
}

/// What to offer the other side of a change that one side wants: its codecs as far as the other
/// trunk can, the current one when nothing is in common, so that a hold gets through.
pub(super) fn change(wish: &Wish, current: Codec, to: &Trunk, local: SocketAddr) -> Terms {
    let codecs = common(&wish.codecs, |codec| to.codecs.contains(codec)).unwrap_or_else(|| vec![current]);
    Terms { local, codecs, direction: wish.direction.reversed(), telephone_event: true }
}

/// The media of a call from what both sides agreed, each watched by its own trunk's switches.
pub(super) fn session(streams: &[Option<Stream>; 2], switches: [&Switches; 2], answered: bool) -> Session {
    let side = |side: Side| {
        let stream = streams[side.index()].as_ref()?;
        let watch = watch(stream.direction, switches[side.index()]).filter(|_| answered);
        Some(Stream { watch, ..stream.clone() })
    };
    Session { sides: [side(Side::A), side(Side::B)] }
}

/// Our media address on a port.
pub(super) fn local(config: &Config, port: u16) -> SocketAddr {
    SocketAddr::new(config.media.address, port)
}

fn watch(direction: Direction, switches: &Switches) -> Option<Watch> {
    let held = !direction.receives();
    let watched = if held { switches.rtcp_calls_on_hold } else { switches.rtcp_active_calls };
    watched.then_some(Watch { limit: DEAD_MEDIA })
}

fn common(wanted: &[Codec], allowed: impl Fn(&Codec) -> bool) -> Option<Vec<Codec>> {
    let codecs: Vec<Codec> = wanted.iter().copied().filter(|codec| allowed(codec)).collect();
    (!codecs.is_empty()).then_some(codecs)
}
