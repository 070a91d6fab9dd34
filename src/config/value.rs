//! The forms that a value may have, and how each is read.
//!
//! Every reader answers with the value or with [`Wrong`]: which part of the text is wrong, why, and
//! what would be right.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Component, PathBuf};
use std::time::Duration;

use super::keys::{CODECS, SUITES};
use super::{DChannel, ScheduledCall, Share};
use crate::cause::Cause;
use crate::hop::SpanId;
use crate::private::Private;
use crate::session::{Codec, Suite};

mod pattern;
mod script;

pub use pattern::{Search, doubts, pattern, remark, search};
pub use script::{SecretSource, Typed, step, typed};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The offending bytes of the value; empty when the whole value is meant.
    pub at: Range<usize>,
    /// The reason.
    pub why: String,
    /// What would be right.
    pub instead: String,
}

impl Wrong {
    fn whole(why: impl Into<String>, instead: impl Into<String>) -> Wrong {
        Wrong { at: 0..0, why: why.into(), instead: instead.into() }
    }
}

/// The form of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Text,
    /// A host name.
    Name,
    /// Host names, space separated; `*.` covers one label.
    Names,
    /// Addresses, space separated.
    Addresses,
    /// One address of ours that peers can reach.
    OwnAddress,
    /// A name or an address of ours.
    Host,
    /// `address:port`; empty is off.
    Listen,
    /// `host` or `host:port`, space separated.
    Hosts,
    /// A file.
    Path,
    /// True or False.
    Flag,
    /// A whole number in a range.
    Number(u32, u32),
    /// Whole dB, so many down or up at most.
    Gain(i8),
    /// `auto`, or a whole number in a range.
    Auto(u32, u32),
    /// A port.
    Port,
    /// `first-last`.
    Ports,
    /// Time in a range: `10s`, `500ms`, `2m`, `1h`, plain seconds.
    Time(Duration, Duration),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, space separated.
    Choices(&'static [&'static str]),
    /// Whole numbers in a range, space separated.
    Numbers(u32, u32),
    /// Names, separated by spaces or commas.
    List,
    /// A regular expression as .NET understands it.
    Pattern,
    /// `own`, `Span1`, or `backup Span1`.
    DChannel,
    /// `pattern => translation`.
    Translation,
    /// `SIP[/Q.850 cause] => SIP`.
    CodeRule,
    /// A regular expression that is searched in text of several lines.
    Search,
    /// `pattern => what is typed`.
    Step,
    /// What is typed on a console.
    Typed,
    /// `https://host` or `https://host:port`.
    Url,
    /// `card:port`, space separated.
    PortsOfCards,
    /// A file for a capture.
    Capture,
    /// `every TIME NUMBER to NUMBER for TIME`, comma separated.
    Calls,
    /// 0 to 1.
    Share,
}

impl Form {
    /// Is this text of the form?
    pub fn check(self, text: &str) -> Result<(), Wrong> {
        match self {
            Form::Text | Form::Path | Form::List => Ok(()),
            Form::Name => name(text).map(drop),
            Form::Names => names(text).map(drop),
            Form::Addresses => addresses(text).map(drop),
            Form::OwnAddress => own_address(text).map(drop),
            Form::Host => host(text).map(drop),
            Form::Listen => listen(text).map(drop),
            Form::Hosts => hosts(text).map(drop),
            Form::Flag => flag(text).map(drop),
            Form::Number(least, most) => number(text, least, most).map(drop),
            Form::Gain(most) => gain(text, most).map(drop),
            Form::Auto(least, most) => auto(text, least, most).map(drop),
            Form::Port => port(text).map(drop),
            Form::Ports => ports(text).map(drop),
            Form::Time(least, most) => time(text, least, most).map(drop),
            Form::Choice(words) => choice(text, words).map(drop),
            Form::Choices(words) => choices(text, words).map(drop),
            Form::Numbers(least, most) => numbers(text, least, most).map(drop),
            Form::DChannel => d_channel(text).map(drop),
            Form::Pattern => pattern(text).map(drop),
            Form::Translation => translation(text),
            Form::CodeRule => code_rule(text).map(drop),
            Form::Search => search(text).map(drop),
            Form::Step => step(text).map(drop),
            Form::Typed => typed(text).map(drop),
            Form::Url => https(text).map(drop),
            Form::PortsOfCards => ports_of_cards(text).map(drop),
            Form::Capture => capture(text).map(drop),
            Form::Calls => calls(text).map(drop),
            Form::Share => share(text).map(drop),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Text => f.write_str("text"),
            Form::Name => f.write_str("host name"),
            Form::Names => f.write_str("host names, space separated"),
            Form::Addresses => f.write_str("addresses, space separated"),
            Form::OwnAddress => f.write_str("address"),
            Form::Host => f.write_str("host name or address"),
            Form::Listen => f.write_str("address:port, empty is off"),
            Form::Hosts => f.write_str("host or host:port, space separated"),
            Form::Path => f.write_str("file"),
            Form::Flag => f.write_str("True or False"),
            Form::Number(least, most) => write!(f, "{least} to {most}"),
            Form::Gain(most) => write!(f, "dB, -{most} to {most}"),
            Form::Auto(least, most) => write!(f, "auto, or {least} to {most}"),
            Form::Port => f.write_str("port"),
            Form::Ports => f.write_str("first-last"),
            Form::Time(least, most) => write!(f, "time, {} to {}", Written(*least), Written(*most)),
            Form::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Form::Choices(words) => write!(f, "some of {}, space separated", words.join(", ")),
            Form::Numbers(least, most) => write!(f, "numbers from {least} to {most}, space separated"),
            Form::List => f.write_str("names, separated by spaces or commas"),
            Form::DChannel => f.write_str("own, SpanN, or backup SpanN"),
            Form::Pattern => f.write_str("pattern"),
            Form::Translation => f.write_str("pattern => translation"),
            Form::CodeRule => f.write_str("SIP[/Q.850 cause] => SIP[/Q.850 cause]"),
            Form::Search => f.write_str("pattern"),
            Form::Step => f.write_str("pattern => what is typed"),
            Form::Typed => f.write_str("what is typed"),
            Form::Url => f.write_str("https://host or https://host:port"),
            Form::PortsOfCards => f.write_str("card:port, space separated"),
            Form::Capture => f.write_str("file"),
            Form::Calls => f.write_str("every TIME NUMBER to NUMBER [for TIME], comma separated"),
            Form::Share => f.write_str("0 to 1, such as 1e-6"),
        }
    }
}

/// A duration as one would write it.
struct Written(Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.is_zero() => f.write_str("0"),
            0 => write!(f, "{}ms", self.0.as_millis()),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

/// The parts between spaces (and commas) with their place.
pub fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let separator = |c: char| c.is_whitespace() || c == ',';
    text.split(separator).filter(|word| !word.is_empty()).map(move |word| {
        // `word` is a part of `text`, so the difference is its offset.
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        (start..start + word.len(), word)
    })
}

fn each<T>(text: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let one = |(at, word): (Range<usize>, &str)| read(word).map_err(|wrong| Wrong { at, ..wrong });
    words(text).map(one).collect()
}

/// True or False, in any case; also yes, no, 1, 0.
pub fn flag(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(Wrong::whole("this is neither true nor false", "True or False")),
    }
}

/// A whole number in a range.
pub fn number(text: &str, least: u32, most: u32) -> Result<u32, Wrong> {
    let instead = || format!("a whole number from {least} to {most}");
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(n) if digits && (least..=most).contains(&n) => Ok(n),
        Ok(_) | Err(_) if digits => Err(Wrong::whole(format!("{text} is out of range"), instead())),
        _ => Err(Wrong::whole("this is not a whole number", instead())),
    }
}

/// Whole dB, so many down or up at most.
pub fn gain(text: &str, most: i8) -> Result<i8, Wrong> {
    let instead = || format!("whole dB from -{most} to {most}");
    match text.parse::<i8>() {
        Ok(gain) if (-most..=most).contains(&gain) => Ok(gain),
        Ok(_) => Err(Wrong::whole(format!("{text} dB is out of range"), instead())),
        Err(_) => Err(Wrong::whole("this is not a gain", instead())),
    }
}

/// `auto` is `None`.
pub fn auto(text: &str, least: u32, most: u32) -> Result<Option<u32>, Wrong> {
    match text.eq_ignore_ascii_case("auto") {
        true => Ok(None),
        false => number(text, least, most).map(Some),
    }
}

/// Whole numbers in a range.
pub fn numbers(text: &str, least: u32, most: u32) -> Result<Vec<u32>, Wrong> {
    each(text, |word| number(word, least, most))
}

/// A port that can be named.
pub fn port(text: &str) -> Result<u16, Wrong> {
    let instead = |wrong| Wrong { instead: "a port from 1 to 65535".into(), ..wrong };
    let n = number(text, 1, u32::from(u16::MAX)).map_err(instead)?;
    Ok(u16::try_from(n).unwrap_or(u16::MAX))
}

/// `first-last`.
pub fn ports(text: &str) -> Result<(u16, u16), Wrong> {
    let instead = "first-last, for example 49152-57500";
    let Some((first, last)) = text.split_once('-') else {
        return Err(Wrong::whole("a range has two ends", instead));
    };
    let ends = (port(first.trim())?, port(last.trim())?);
    if ends.0 > ends.1 {
        return Err(Wrong::whole("the range ends before it starts", format!("{}-{}", ends.1, ends.0)));
    }
    Ok(ends)
}

/// `10s`, `500ms`, `2m`, `1h`, or plain seconds.
pub fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, Wrong> {
    let instead = || format!("{} to {}, for example 10s, 500ms, 2m", Written(least), Written(most));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(Wrong::whole("this is not a time", instead())),
    };
    let Some(total) = amount.parse::<u64>().ok().and_then(|n| n.checked_mul(milliseconds)) else {
        return Err(Wrong::whole("this is not a time", instead()));
    };
    let time = Duration::from_millis(total);
    match (least..=most).contains(&time) {
        true => Ok(time),
        false => Err(Wrong::whole(format!("{text} is out of range"), instead())),
    }
}

/// One of a few words, in any case; answers with its place among them.
pub fn choice(text: &str, words: &[&str]) -> Result<usize, Wrong> {
    words.iter().position(|word| word.eq_ignore_ascii_case(text)).ok_or_else(|| {
        let instead = match nearest(text, words.iter().copied()) {
            Some(near) => format!("{near} (one of {})", words.join(", ")),
            None => format!("one of {}", words.join(", ")),
        };
        Wrong::whole(format!("`{text}` is not known here"), instead)
    })
}

/// Some of a few words.
pub fn choices(text: &str, words: &[&str]) -> Result<Vec<usize>, Wrong> {
    each(text, |word| choice(word, words))
}

/// `own`, `Span1`, or `backup Span1`.
pub fn d_channel(text: &str) -> Result<DChannel, Wrong> {
    let wrong = || Wrong::whole("this names no D channel", "own, Span1, or backup Span1");
    let span = |word: &str| {
        let number = word.get(..4).filter(|name| name.eq_ignore_ascii_case("span")).and_then(|_| word.get(4..));
        number.and_then(|number| number.parse().ok()).map(SpanId)
    };
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [own] if own.eq_ignore_ascii_case("own") => Ok(DChannel::Own),
        [other] => span(other).map(DChannel::Of).ok_or_else(wrong),
        [backup, other] if backup.eq_ignore_ascii_case("backup") => {
            span(other).map(DChannel::BackupOf).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// Codecs by their names in SDP, best first.
pub fn codecs(text: &str) -> Result<Vec<Codec>, Wrong> {
    let chosen = choices(text, CODECS)?;
    Ok(chosen.into_iter().filter_map(|at| Codec::ALL.get(at).copied()).collect())
}

/// SRTP suites by their names in SDP, best first.
pub fn suites(text: &str) -> Result<Vec<Suite>, Wrong> {
    let chosen = choices(text, SUITES)?;
    Ok(chosen.into_iter().filter_map(|at| Suite::ALL.get(at).copied()).collect())
}

/// A host name of letters, digits, hyphens and dots, in lower case (RFC 1123 section 2.1;
/// underscores pass, because Windows hosts have them).
pub fn name(text: &str) -> Result<String, Wrong> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let instead = "a host name, for example ms1.contoso.com";
    if text.parse::<IpAddr>().is_ok() {
        return Err(Wrong::whole("this is an address, not a name", instead));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    match bare.len() <= 253 && bare.split('.').all(label) {
        true => Ok(bare.to_ascii_lowercase()),
        false => Err(Wrong::whole("this is not a host name", instead)),
    }
}

/// Host names; a leading `*.` covers one label.
pub fn names(text: &str) -> Result<Vec<String>, Wrong> {
    each(text, |word| match word.strip_prefix("*.") {
        Some(rest) => name(rest).map(|rest| format!("*.{rest}")),
        None => name(word),
    })
}

fn address(text: &str) -> Result<IpAddr, Wrong> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| Wrong::whole("this is not an address", "an address, for example 192.0.2.10"))
}

/// Addresses of peers.
pub fn addresses(text: &str) -> Result<Vec<IpAddr>, Wrong> {
    each(text, |word| {
        let address = address(word)?;
        reachable(address)
    })
}

/// An address that others can send to.
pub fn own_address(text: &str) -> Result<IpAddr, Wrong> {
    reachable(address(text)?)
}

fn reachable(address: IpAddr) -> Result<IpAddr, Wrong> {
    match address.is_unspecified() || address.is_multicast() {
        true => Err(Wrong::whole("nobody can send to this address", "the address of one machine, such as 192.0.2.10")),
        false => Ok(address),
    }
}

/// A name or an address.
pub fn host(text: &str) -> Result<String, Wrong> {
    match address(text) {
        Ok(address) => reachable(address).map(|address| address.to_string()),
        Err(_) => name(text),
    }
}

/// `address:port`; empty is off.
pub fn listen(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    let instead = "address:port, for example 0.0.0.0:5070, or nothing to switch it off";
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() == 0 => Err(Wrong::whole("port 0 is no port that a peer could be told", instead)),
        Ok(at) => Ok(Some(at)),
        Err(_) if text.parse::<IpAddr>().is_ok() => Err(Wrong::whole("the port is missing", instead)),
        Err(_) => Err(Wrong::whole("this is not an address with a port", instead)),
    }
}

/// A host with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A lower-case name, or an address (IPv6 without brackets).
    pub host: String,
    /// As written.
    pub port: Option<u16>,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// `host`, `host:port`, `[v6]:port`, a bare IPv6 address.
pub fn host_port(text: &str) -> Result<HostPort, Wrong> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(HostPort { host: host(text)?, port: None });
    }
    match text.rsplit_once(':') {
        Some((before, after)) if !after.ends_with(']') => {
            Ok(HostPort { host: host(before)?, port: Some(port(after)?) })
        }
        _ => Ok(HostPort { host: host(text)?, port: None }),
    }
}

/// Hosts, space separated.
pub fn hosts(text: &str) -> Result<Vec<HostPort>, Wrong> {
    each(text, host_port)
}

/// `https://host` or `https://host:port`.
pub fn https(text: &str) -> Result<HostPort, Wrong> {
    let instead = "https://192.0.2.20, or with a name or a port";
    let scheme = text.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let Some(rest) = scheme.and_then(|scheme| text.get(scheme.len()..)) else {
        return Err(Wrong::whole("a password travels here, so only https:// will do", instead));
    };
    host_port(rest.strip_suffix('/').unwrap_or(rest)).map_err(|wrong| Wrong { instead: instead.into(), ..wrong })
}

/// A port of a line card, both counted as the gateway counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOfCard {
    /// The card.
    pub card: u16,
    /// The port on it.
    pub port: u16,
}

impl fmt::Display for PortOfCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.card, self.port)
    }
}

/// `card:port`, space separated.
pub fn ports_of_cards(text: &str) -> Result<Vec<PortOfCard>, Wrong> {
    let number = |text: &str| number(text, 1, 999).ok().and_then(|n| u16::try_from(n).ok());
    each(text, |word| {
        let port =
            word.split_once(':').and_then(|(card, port)| Some(PortOfCard { card: number(card)?, port: number(port)? }));
        port.ok_or_else(|| Wrong::whole("this is no port of a card", "card:port, for example 1:1 1:2"))
    })
}

/// A file for a capture: what is there is overwritten, so nothing that could be something else will do.
pub fn capture(text: &str) -> Result<PathBuf, Wrong> {
    let wrong = |why: &str| Wrong::whole(why, "/var/lib/demarc/span1.pcap");
    let path = PathBuf::from(text);
    match path.components().collect::<Vec<_>>()[..] {
        [Component::RootDir, ref folders @ .., Component::Normal(_)] => {
            let special = [Some("dev"), Some("proc"), Some("sys")];
            let first = folders.first().map(|folder| folder.as_os_str().to_str());
            match () {
                () if folders.contains(&Component::ParentDir) => Err(wrong("a path with .. may end anywhere")),
                () if first.is_some_and(|first| special.contains(&first)) => Err(wrong("files do not belong there")),
                () if path.extension().is_none_or(|extension| extension != "pcap") => {
                    Err(wrong("it does not end in .pcap"))
                }
                () => Ok(path),
            }
        }
        _ => Err(wrong("this is no whole path of a file")),
    }
}

/// A share of a whole.
pub fn share(text: &str) -> Result<Share, Wrong> {
    let share = text.parse().ok().and_then(Share::new);
    share.ok_or_else(|| Wrong::whole("this is no share of a whole", "a number from 0 to 1, for example 0.01 or 1e-6"))
}

/// Calls on a schedule.
pub fn calls(text: &str) -> Result<Vec<ScheduledCall>, Wrong> {
    let place = |part: &str| {
        // `part` is a part of `text`, so the difference is its offset.
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        start..start + part.len()
    };
    let parts = text.split(',').map(str::trim);
    parts.map(|part| scheduled(part).map_err(|wrong| Wrong { at: place(part), ..wrong })).collect()
}

fn scheduled(text: &str) -> Result<ScheduledCall, Wrong> {
    let wrong = |why: &str| Wrong::whole(why, "every 5m +12065550123 to +14255550100 for 30s");
    let number = |text: &str| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let good = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if good { Ok(Private(text.to_owned())) } else { Err(wrong("this is no number that an exchange could call")) }
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (every, from, to, lasts) = match words[..] {
        ["every", every, from, "to", to] => (every, from, to, "20s"),
        ["every", every, from, "to", to, "for", lasts] => (every, from, to, lasts),
        _ => return Err(wrong("this is no call on a schedule")),
    };
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    Ok(ScheduledCall {
        every: time(every, 5 * second, day)?,
        from: number(from)?,
        to: number(to)?,
        lasts: time(lasts, second, day)?,
    })
}

/// The two sides of a rule, each with its place.
pub fn sides(text: &str) -> Option<[(Range<usize>, &str); 2]> {
    let (left, right) = text.split_once("=>")?;
    let (from, to) = (left.trim(), right.trim());
    let start = text.len() - right.trim_start().len();
    Some([(0..from.len(), from), (start..start + to.len(), to)])
}

fn translation(text: &str) -> Result<(), Wrong> {
    let instead = r"pattern => translation, for example ^(\d{4})$ => +1312555$1";
    match sides(text) {
        None => Err(Wrong::whole("a rule has a pattern, `=>` and a translation", instead)),
        Some([(_, ""), _]) => Err(Wrong::whole("the pattern is missing", instead)),
        Some([(_, from), _]) => pattern(from).map(drop),
    }
}

/// A status and a cause that a refusal came with, and those that are told instead.
pub type CodeRule = [(Option<u16>, Option<Cause>); 2];

/// A rule for refusals. 0 for the status and -1 for the cause mean any; what is told instead has a status.
pub fn code_rule(text: &str) -> Result<CodeRule, Wrong> {
    let instead = "SIP[/Q.850 cause] => SIP[/Q.850 cause], for example 486/34 => 503";
    let Some([received, translated]) = sides(text) else {
        return Err(Wrong::whole("a rule has a received code, `=>` and a code to send", instead));
    };
    let at = translated.0.clone();
    let translated = codes(translated)?;
    match translated.0 {
        Some(_) => Ok([codes(received)?, translated]),
        None => {
            Err(Wrong { at, why: "a refusal has a status from 400 to 699".to_owned(), instead: instead.to_owned() })
        }
    }
}

fn codes((at, text): (Range<usize>, &str)) -> Result<(Option<u16>, Option<Cause>), Wrong> {
    let (status, cause) = text.split_once('/').map_or((text, None), |(status, cause)| (status, Some(cause)));
    let within = |text: &str, any: &str, from, to| match text {
        text if text == any => Ok(None),
        text => number(text, from, to).map(Some).map_err(|wrong| Wrong { at: at.clone(), ..wrong }),
    };
    // Both fit: the ranges are far below.
    let status = within(status, "0", 400, 699)?.and_then(|status| u16::try_from(status).ok());
    let cause = within(cause.unwrap_or("-1"), "-1", 1, 127)?.and_then(|cause| u8::try_from(cause).ok()).map(Cause);
    Ok((status, cause))
}

/// The known word that a mistyped one resembles.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    if lower.len() > 64 {
        return None;
    }
    let distance = |known: &&str| strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase());
    let (best, near) = known.map(|known| (distance(&known), known)).min_by_key(|&(distance, _)| distance)?;
    let allowed = (lower.chars().count() / 3).clamp(1, 4);
    (best <= allowed).then_some(near)
}

#[cfg(test)]
mod tests;
