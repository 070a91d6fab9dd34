//! Who was called before: History-Info (RFC 7044) and Diversion (RFC 5806), which say the same (RFC 7544).
//!
//! ```text
//! History-Info: <sip:first@h?Reason=SIP%3Bcause%3D302>;index=1, <sip:second@h;cause=302>;index=1.1;mp=1   the first one first
//! Diversion: <sip:first@h>;reason=unconditional;counter=1;privacy=off                                   the last one first
//! ```
//! An entry of History-Info is somebody who was called before when it carries a Reason, or when the next one says what brought
//! the call there (`cause`, RFC 4458); others are ways to the same person.

use super::invite;
use crate::config::{Trunk, TrunkKind};
use crate::leg::{Diversion, Diverted, Parties, Party};
use crate::private::Private;
use crate::wire::sip::{Address, Builder, Message, Name, Reason, Uri};

/// Why calls go on: the status of RFC 4458 and RFC 7544, and the word of RFC 5806. The first row of a reason is what we write.
const WHY: [(Diverted, u16, &str); 10] = [
    (Diverted::Unknown, 404, "unknown"),
    (Diverted::Busy, 486, "user-busy"),
    (Diverted::NoAnswer, 408, "no-answer"),
    (Diverted::Always, 302, "unconditional"),
    (Diverted::Deflected, 480, "deflection"),
    (Diverted::Deflected, 487, "deflection"),
    (Diverted::OutOfReach, 503, "unavailable"),
    (Diverted::OutOfReach, 503, "out-of-service"),
    (Diverted::Busy, 600, "do-not-disturb"),
    (Diverted::Always, 302, "follow-me"),
];

fn why(known: impl Fn(&(Diverted, u16, &str)) -> bool) -> Diverted {
    WHY.iter().find(|row| known(row)).map_or(Diverted::Unknown, |(why, ..)| *why)
}

fn row(why: Diverted) -> (u16, &'static str) {
    WHY.iter().find(|(known, ..)| *known == why).map_or((404, "unknown"), |(_, status, word)| (*status, word))
}

/// Who was called before this INVITE, the first one first: of many the first and the last.
pub fn read(invite: &Message) -> Vec<Diversion> {
    let mut all = history(invite);
    if all.is_empty() {
        all = diversions(invite);
    }
    if all.len() > 2 {
        all.drain(1..all.len() - 1);
    }
    all
}

fn history(invite: &Message) -> Vec<Diversion> {
    let hidden = is_private(invite.all(Name::Privacy), b"history");
    let entries: Vec<Address<'_>> = invite.elements(Name::HistoryInfo).filter_map(Address::parse).collect();
    let next = entries.iter().skip(1).map(Some).chain([None]);
    entries
        .iter()
        .zip(next)
        .filter_map(|(entry, next)| {
            let status = left_for(entry.uri).or_else(|| next?.uri.param("cause")?.parse().ok())?;
            let withheld = hidden || entry.uri.header("Privacy").is_some_and(|value| &*value != b"none");
            Some(Diversion { party: party(entry, withheld), why: why(|(_, known, _)| *known == status) })
        })
        .collect()
}

/// The status of the Reason in an entry's URI; 0 for one without.
fn left_for(uri: Uri<'_>) -> Option<u16> {
    let written = uri.header("Reason")?;
    Some(Reason::parse(&written).filter(|reason| reason.protocol == "SIP").and_then(|reason| reason.cause).unwrap_or(0))
}

fn diversions(invite: &Message) -> Vec<Diversion> {
    let read = |entry: Address<'_>| {
        let reason = entry.params.text("reason").unwrap_or_default();
        let withheld = entry.params.text("privacy").is_some_and(|word| !word.eq_ignore_ascii_case("off"));
        Diversion { party: party(&entry, withheld), why: why(|(.., known)| known.eq_ignore_ascii_case(reason)) }
    };
    let mut all: Vec<Diversion> = invite.elements(Name::Diversion).filter_map(Address::parse).map(read).collect();
    all.reverse();
    all
}

fn party(entry: &Address<'_>, withheld: bool) -> Party {
    let user = entry.uri.user().filter(|_| !invite::is_anonymous(entry.uri)).unwrap_or_default();
    Party { number: Private(user.to_owned()), name: Private(entry.display_text()), withheld }
}

/// Does Privacy ask for this?
pub(super) fn is_private<'a>(mut values: impl Iterator<Item = &'a [u8]>, wanted: &[u8]) -> bool {
    values.any(|value| value.split(|octet| b";, ".contains(octet)).any(|word| word.eq_ignore_ascii_case(wanted)))
}

/// Tells a trunk that wants it (ForwardCallHistory) who was called before: by History-Info, and gateways, many of which know
/// nothing else, by Diversion too.
pub fn write(builder: Builder, trunk: &Trunk, parties: &Parties) -> Builder {
    let all = &parties.diversions[..];
    if all.is_empty() || !trunk.switches.forward_call_history {
        return builder;
    }
    let mut builder = builder;
    let mut index = "1".to_owned();
    let mut came = None;
    for Diversion { party, why } in all {
        let (status, _) = row(*why);
        let privacy = if party.withheld { "&Privacy=history" } else { "" };
        let uri = target(trunk, party.number.get(), came);
        let from = mapped(&index, came);
        let value = format_args!("<{uri}?Reason=SIP%3Bcause%3D{status}{privacy}>;index={index}{from}");
        builder = builder.header(Name::HistoryInfo, value);
        index.push_str(".1");
        came = Some(status);
    }
    let uri = target(trunk, parties.called.get(), came);
    let builder = builder.header(Name::HistoryInfo, format_args!("<{uri}>;index={index}{}", mapped(&index, came)));
    if trunk.kind != TrunkKind::Gateway {
        return builder;
    }
    all.iter().rev().fold(builder, |builder, Diversion { party, why }| {
        let (uri, (_, word)) = (target(trunk, party.number.get(), None), row(*why));
        let privacy = if party.withheld { "full" } else { "off" };
        builder.header(Name::Diversion, format_args!("<{uri}>;reason={word};counter=1;privacy={privacy}"))
    })
}

/// A target, and the status that brought the call there.
fn target(trunk: &Trunk, user: &str, came: Option<u16>) -> String {
    let cause = came.map(|status| format!(";cause={status}")).unwrap_or_default();
    format!("{}{cause}", if user.is_empty() { invite::ANONYMOUS.to_owned() } else { invite::own_uri(trunk, user) })
}

/// Which entry this one came from (RFC 7044 section 5): the one without the last number of its index.
fn mapped(index: &str, came: Option<u16>) -> String {
    let from = index.rsplit_once('.').map(|(from, _)| from);
    came.and(from).map(|from| format!(";mp={from}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::leg::tests::trunk;
    use crate::wire::sip::Method;

    fn with(name: Name, values: &[&str]) -> Message {
        let builder = Builder::request(Method::Invite, "sip:+13125556789@h");
        values.iter().fold(builder, |builder, value| builder.header(name, value)).empty_body()
    }

    fn told(all: &[Diversion]) -> String {
        let hop = |Diversion { party, why }: &Diversion| {
            format!("{}{} {why:?}", party.number.get(), if party.withheld { " withheld" } else { "" })
        };
        all.iter().map(hop).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn history_is_read_as_microsoft_and_others_write_it() {
        for (values, expected) in [
            // Teams: the reason unescaped.
            (
                &["<sip:+4969@sip.pstnhub.microsoft.com;user=phone?Reason=SIP;cause=302;text=\"Moved\">;index=1"][..],
                "+4969 Always",
            ),
            (&["<sip:+1@h?Reason=SIP%3Bcause%3D486>;index=1", "<sip:+2@h>;index=1.1"], "+1 Busy"),
            // By the target alone.
            (&["<sip:+1@h>;index=1, <sip:+2@h;cause=408>;index=1.1;mp=1"], "+1 NoAnswer"),
            // Ways to the same person.
            (&["<sip:bob@h>;index=1, <sip:bob@192.0.2.4>;index=1.1;rc=1"], ""),
            (&["<sip:+1@h?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1"], "+1 withheld Always"),
            (&["<sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D302>;index=1"], " Always"),
            (&["<sip:+1@h?Reason=Q.850;cause=17>;index=1"], "+1 Unknown"),
            (
                &[
                    "<sip:+1@h?Reason=SIP;cause=302>;index=1,<sip:+2@h?Reason=SIP;cause=486>;index=1.1,<sip:+3@h?Reason=SIP;cause=408>;index=1.1.1",
                ],
                "+1 Always, +3 NoAnswer",
            ),
            (&["nonsense, <sip:"], ""),
        ] {
            assert_eq!(told(&read(&with(Name::HistoryInfo, values))), expected, "{values:?}");
        }
        let private = with(Name::HistoryInfo, &["<sip:+1@h?Reason=SIP;cause=302>;index=1"]);
        let private =
            private.lines().fold(Builder::with_start_of(&private), Builder::line).header(Name::Privacy, "id;history");
        assert_eq!(told(&read(&private.empty_body())), "+1 withheld Always");
    }

    #[test]
    fn whatever_is_read_can_be_written_and_read_again() {
        let mut gateway = trunk(TrunkKind::Gateway);
        gateway.switches.forward_call_history = true;
        bolero::check!().with_type::<(bool, Vec<u8>, Vec<u8>)>().for_each(|(history, user, more)| {
            let name = if *history { Name::HistoryInfo } else { Name::Diversion };
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let value =
                format!("\"{}\" <sip:{}@h?Reason=SIP;cause=302{1}>;reason={}", text(more), text(user), text(more));
            for value in [text(user), value] {
                let diversions = read(&with(name, &[&value]));
                let parties = Parties { diversions: diversions.clone(), ..Parties::default() };
                let written = write(Builder::request(Method::Invite, "sip:h"), &gateway, &parties).empty_body();
                let reasons = |all: &[Diversion]| all.iter().map(|diversion| diversion.why).collect::<Vec<_>>();
                assert_eq!(reasons(&read(&written)), reasons(&diversions), "{value:?}");
            }
        });
    }

    #[test]
    fn diversion_is_read_from_the_last_to_the_first() {
        for (values, expected) in [
            (&["<sip:+1@h>;reason=user-busy;counter=1"][..], "+1 Busy"),
            (
                &["\"Bob\" <tel:+2>;reason=no-answer;privacy=full, <sip:+1@h>;Reason=\"unconditional\""],
                "+1 Always, +2 withheld NoAnswer",
            ),
            (
                &["<sip:+3@h>;reason=away", "<sip:+2@h>", "<sip:+1@h>;reason=deflection;privacy=off"],
                "+1 Deflected, +3 Unknown",
            ),
        ] {
            assert_eq!(told(&read(&with(Name::Diversion, values))), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_who_wants_it() {
        let party = |number: &str, withheld| Party { number: Private(number.into()), withheld, ..Party::default() };
        let first = Diversion { party: party("+13125550101", false), why: Diverted::Always };
        let last = Diversion { party: party("2102", true), why: Diverted::Busy };
        let parties = |diversions: &[&Diversion]| Parties {
            called: Private("+13125556789".into()),
            diversions: diversions.iter().copied().cloned().collect(),
            ..Parties::default()
        };
        let written = |trunk: &Trunk, diversions: &[&Diversion]| {
            write(Builder::request(Method::Invite, "sip:h"), trunk, &parties(diversions)).empty_body()
        };
        let mut gateway = trunk(TrunkKind::Gateway);
        assert_eq!(written(&gateway, &[&first]).lines().filter(|line| line.name != Name::ContentLength).count(), 0);
        gateway.switches.forward_call_history = true;
        let both = written(&gateway, &[&first, &last]);
        let history: Vec<&str> = both.all(Name::HistoryInfo).map(|value| std::str::from_utf8(value).unwrap()).collect();
        let expected = [
            "<sip:+13125550101@ms1.contoso.com;user=phone?Reason=SIP%3Bcause%3D302>;index=1",
            "<sip:2102@ms1.contoso.com;user=phone;cause=302?Reason=SIP%3Bcause%3D486&Privacy=history>;index=1.1;mp=1",
            "<sip:+13125556789@ms1.contoso.com;user=phone;cause=486>;index=1.1.1;mp=1.1",
        ];
        assert_eq!(history, expected);
        let diversion: Vec<&str> = both.all(Name::Diversion).map(|value| std::str::from_utf8(value).unwrap()).collect();
        let expected = [
            "<sip:2102@ms1.contoso.com;user=phone>;reason=user-busy;counter=1;privacy=full",
            "<sip:+13125550101@ms1.contoso.com;user=phone>;reason=unconditional;counter=1;privacy=off",
        ];
        assert_eq!(diversion, expected);
        assert_eq!(read(&both), [first.clone(), last.clone()]);
        assert_eq!(super::diversions(&both), [first.clone(), last]);
        let mut teams = trunk(TrunkKind::Microsoft(crate::config::Profile::Teams));
        teams.switches.forward_call_history = true;
        let history_alone = written(&teams, &[&first]);
        assert_eq!((history_alone.value(Name::Diversion), read(&history_alone)), (None, vec![first]));
    }
}
