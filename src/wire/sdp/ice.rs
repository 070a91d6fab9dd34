//! ICE in a description (RFC 8839):
//!
//! ```text
//! a=ice-lite                                                  of the session: who writes it checks nothing
//! a=ice-ufrag:8hhY                                            of a stream, or of the session for all streams
//! a=ice-pwd:asd88fgpdd777uzjYhagZg
//! a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host
//!             foundation, component, transport, priority, address, port, kind; then what extends them
//! ```
//!
//! What Office Communicator wrote by an early draft, `candidate:<fragment> 1 <password> UDP 0.830 10.1.2.3 50104`, is
//! none of these and passed over.

use std::net::SocketAddr;

use crate::private::Secret;
use crate::random::Random;
use crate::session::Credentials;

/// A host candidate's preference over those that are found by asking others (RFC 8445 section 5.1.2.2).
const HOST: u32 = 126;
/// The one that we have is preferred over all that we have (section 5.1.2.1).
const ONLY: u32 = 65_535;

/// How an address was found (RFC 8445 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is the machine's own.
    Host,
    /// A STUN server sees it.
    ServerReflexive,
    /// A peer sees it.
    PeerReflexive,
    /// A TURN server lends it.
    Relayed,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Host, Kind::ServerReflexive, Kind::PeerReflexive, Kind::Relayed];

    fn name(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::ServerReflexive => "srflx",
            Kind::PeerReflexive => "prflx",
            Kind::Relayed => "relay",
        }
    }
}

/// An address where UDP may be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The same for candidates that were found in the same way.
    pub foundation: &'a str,
    /// 1 is RTP, 2 RTCP.
    pub component: u16,
    /// The higher the better.
    pub priority: u32,
    /// Where.
    pub address: SocketAddr,
    /// How it was found.
    pub kind: Kind,
}

impl<'a> Candidate<'a> {
    /// Our one address for a component.
    pub fn host(component: u8, address: SocketAddr) -> Candidate<'static> {
        let priority = HOST << 24 | ONLY << 8 | (256 - u32::from(component));
        Candidate { foundation: "1", component: component.into(), priority, address, kind: Kind::Host }
    }

    /// Reads the value of an `a=candidate` attribute. `None`: TCP, a host name, an early draft's, or a fault; such a line
    /// is passed over.
    pub fn parse(value: &'a str) -> Option<Candidate<'a>> {
        let mut words = value.split_ascii_whitespace();
        let foundation = words.next().filter(|foundation| is_ice_text(foundation, 1, 32))?;
        let component = words.next()?.parse().ok().filter(|component| (1..=256).contains(component))?;
        words.next().filter(|transport| transport.eq_ignore_ascii_case("UDP"))?;
        let priority = words.next()?.parse().ok()?;
        let ip = words.next()?.parse().ok()?;
        let address = SocketAddr::new(ip, words.next()?.parse().ok()?);
        words.next().filter(|word| *word == "typ")?;
        let named = words.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == named)?;
        Some(Candidate { foundation, component, priority, address, kind })
    }

    /// The value as it goes out.
    pub fn wire(&self) -> String {
        let Candidate { foundation, component, priority, address, kind } = self;
        format!("{foundation} {component} UDP {priority} {} {} typ {}", address.ip(), address.port(), kind.name())
    }
}

/// The peer's credentials, if both parts are such (RFC 8839 section 5.4).
pub fn credentials(fragment: &str, password: &str) -> Option<Credentials> {
    let whole = is_ice_text(fragment, 4, 256) && is_ice_text(password, 22, 256);
    whole.then(|| Credentials { fragment: fragment.into(), password: Secret(password.into()) })
}

/// Fresh credentials: 32 and 128 bits that nobody can guess.
pub fn draw_credentials(random: &mut Random) -> Credentials {
    let fragment = format!("{:08x}", random.u64() as u32);
    Credentials { fragment, password: Secret(random.token() + &random.token()) }
}

fn is_ice_text(text: &str, least: usize, most: usize) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'+' || octet == b'/';
    (least..=most).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn candidates_by_table() {
        let candidate = |component, priority, at, kind| {
            Some(Candidate { foundation: "1", component, priority, address: address(at), kind })
        };
        for (value, read) in [
            // RFC 8839 section 5.1 and Skype for Business.
            (
                "1 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
                candidate(1, 1_694_498_815, "192.0.2.3:45664", Kind::ServerReflexive),
            ),
            ("1 2 udp 7 2001:db8::1 9 typ host generation 0", candidate(2, 7, "[2001:db8::1]:9", Kind::Host)),
            ("1 1 UDP 1 10.0.0.1 2 typ relay", candidate(1, 1, "10.0.0.1:2", Kind::Relayed)),
            ("1 1 UDP 1 10.0.0.1 2 typ prflx", candidate(1, 1, "10.0.0.1:2", Kind::PeerReflexive)),
            ("1 1 TCP-ACT 1 10.0.0.1 2 typ host raddr 10.0.0.1 rport 2", None),
            ("1 1 UDP 1 8a2f.local 2 typ host", None),
            // Office Communicator.
            ("cCt8Y3 1 zqLrM6 UDP 0.830 10.1.2.3 50104", None),
            ("1 0 UDP 1 10.0.0.1 2 typ host", None),
            ("1 257 UDP 1 10.0.0.1 2 typ host", None),
            ("1 1 UDP 4294967296 10.0.0.1 2 typ host", None),
            ("1 1 UDP 1 10.0.0.1 65536 typ host", None),
            ("1 1 UDP 1 10.0.0.1 2 host", None),
            ("1 1 UDP 1 10.0.0.1 2 typ", None),
            ("1! 1 UDP 1 10.0.0.1 2 typ host", None),
            ("", None),
        ] {
            assert_eq!(Candidate::parse(value), read, "{value}");
        }
    }

    #[test]
    fn ours_are_the_best_that_there_can_be() {
        let wire = |component| Candidate::host(component, address("192.0.2.9:40000")).wire();
        assert_eq!(wire(1), "1 1 UDP 2130706431 192.0.2.9 40000 typ host");
        assert_eq!(wire(2), "1 2 UDP 2130706430 192.0.2.9 40000 typ host");
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        bolero::check!().with_type().for_each(|(ip, port, component, priority, kind): &(u128, u16, u8, u32, u8)| {
            let (v4, v6) = (std::net::Ipv4Addr::from(*ip as u32), std::net::Ipv6Addr::from(*ip));
            let ip = if ip & 1 == 0 { v4.into() } else { v6.into() };
            let kind = Kind::ALL[usize::from(kind % 4)];
            let component = u16::from(*component) + 1;
            let address = SocketAddr::new(ip, *port);
            let candidate = Candidate { foundation: "a+/9", component, priority: *priority, address, kind };
            assert_eq!(Candidate::parse(&candidate.wire()), Some(candidate));
        });
    }

    #[test]
    fn no_text_makes_it_panic() {
        bolero::check!().for_each(|octets: &[u8]| {
            let text = String::from_utf8_lossy(octets);
            if let Some(candidate) = Candidate::parse(&text) {
                assert_eq!(Candidate::parse(&candidate.wire()), Some(candidate));
            }
            _ = credentials(&text, &text);
        });
    }

    #[test]
    fn credentials_are_long_enough_and_of_plain_characters() {
        const PASSWORD: &str = "asd88fgpdd777uzjYhagZg";
        assert!(credentials("8hhY", PASSWORD).is_some());
        for (fragment, password) in
            [("8hh", PASSWORD), ("8h:Y", PASSWORD), ("8hhY", &PASSWORD[1..]), ("8hhY", &PASSWORD.replace('a', " "))]
        {
            assert_eq!(credentials(fragment, password), None, "{fragment} {password}");
        }
        assert_eq!(credentials(&"a".repeat(257), PASSWORD), None);
    }

    #[test]
    fn fresh_credentials_are_good_and_never_print() {
        let mut random = Random::test(1);
        let (one, two) = (draw_credentials(&mut random), draw_credentials(&mut random));
        assert!(one.fragment != two.fragment && one.password != two.password);
        assert_eq!(credentials(&one.fragment, &one.password.0), Some(one.clone()));
        assert!(!format!("{one:?}").contains(&one.password.0));
    }
}
