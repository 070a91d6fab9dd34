//! What one side agreed becomes what the other side may: codecs, direction, addresses; and both
//! together become the media [`Session`].
//!
//! Both sides speaking the same codec comes first: then packets are only passed on. Whatever else a trunk
//! speaks stands behind that, for the media plane transcodes between any two.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Config, Switches, Trunk};
use crate::leg::{Terms, Wish};
use crate::session::{Codec, Direction, Session, Side, Stream, Watch};

/// A peer from which neither RTP nor RTCP came for this long is gone (Microsoft KB 981218).
pub(super) const DEAD_MEDIA: Duration = Duration::from_secs(30);

/// What to offer the called side. `None` when the caller wants only what its own trunk may not speak. Without a
/// wish (an INVITE without SDP) the caller is taken to speak all that its trunk may.
pub(super) fn offer_to_called(wish: Option<&Wish>, from: &Trunk, to: &Trunk, local: SocketAddr) -> Option<Terms> {
    let all = Wish { codecs: from.codecs.clone(), direction: Direction::SendRecv, comfort_noise: false };
    let wish = wish.unwrap_or(&all);
    let speakable = wish.codecs.iter().any(|codec| from.codecs.contains(codec));
    speakable.then(|| offer_to(wish, to, local))
}

/// What to offer one side when the other has this wish.
pub(super) fn offer_to(wish: &Wish, to: &Trunk, local: SocketAddr) -> Terms {
    Terms {
        local,
        codecs: preferring(&wish.codecs, &to.codecs),
        direction: wish.direction.reversed(),
        telephone_event: true,
        comfort_noise: wish.comfort_noise,
    }
}

/// What one side, of trunk `own`, may agree on, now that the other side speaks `agreed`.
pub(super) fn mirror(agreed: &Stream, own: &Trunk, local: SocketAddr) -> Terms {
    Terms {
        local,
        codecs: preferring(&[agreed.codec], &own.codecs),
        direction: agreed.direction.reversed(),
        telephone_event: true,
        comfort_noise: agreed.comfort_noise.is_some(),
    }
}

/// The media of a call from what both sides agreed, each watched by its own trunk's switches.
pub(super) fn session(streams: &[Option<Stream>; 2], switches: [&Switches; 2], answered: bool) -> Session {
    let side = |side: Side| {
        let stream = streams[side.index()].as_ref()?;
        let watch = watch(stream.direction, switches[side.index()]).filter(|_| answered);
        Some(Stream { watch, ..stream.clone() })
    };
    Session { sides: [side(Side::A), side(Side::B)], ..Session::default() }
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

/// All of `allowed`: first what is wanted, in that order, then the rest in its own.
fn preferring(wanted: &[Codec], allowed: &[Codec]) -> Vec<Codec> {
    let first = wanted.iter().filter(|codec| allowed.contains(codec));
    let rest = allowed.iter().filter(|codec| !wanted.contains(codec));
    first.chain(rest).copied().collect()
}
