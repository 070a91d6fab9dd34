//! The T1 and E1 lines, and the groups of them whose calls one D channel sets up (NFAS).

use std::path::PathBuf;
use std::sync::Arc;

use firmware_io::{Line, Timeslot, e1d};

use super::ini::Extent;
use super::keys::{DRIVERS, HUNTS, LINES, MOST_GAIN, SIDES, SWITCHES, Section, TIMESLOTS};
use super::settings::{Findings, Known, Settings, default, value_or_key};
use super::simulation::{Simulation, simulation};
use super::value;
use crate::hop::SpanId;
use crate::session::Tail;
use crate::wire::q921::Side;
use crate::wire::q931::Dialect;

const LINE_VALUES: [Line; 2] = [Line::T1, Line::E1];
const TAIL_VALUES: [Option<Tail>; 3] = [None, Some(Tail::Ms64), Some(Tail::Ms128)];
const SIDE_VALUES: [Side; 2] = [Side::User, Side::Network];
/// The interfaces that a channel identification can tell apart (Q.931 section 4.5.13).
const MOST_INTERFACE: u32 = 127;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The number in the section's name (`[Span3]`): it means the same line before and after a reload.
    pub id: SpanId,
    /// The section's name: the name in logs, metrics, commands.
    pub name: String,
    /// What the line is reached through.
    pub driver: Driver,
    /// T1 or E1.
    pub line: Line,
    /// How the exchange speaks.
    pub dialect: Dialect,
    /// Which end of the line is ours.
    pub side: Side,
    /// Where the calls of this line are set up.
    pub d_channel: DChannel,
    /// The line's number where one D channel serves several (NFAS).
    pub interface: Option<u8>,
    /// In which order timeslots are taken.
    pub hunt: Hunt,
    /// Our SETUP asks for the timeslot that it names or none.
    pub exclusive: bool,
    /// Called numbers come digit by digit: with so many one is whole.
    pub overlap: Option<u8>,
    /// The tones behind an exchange's DISCONNECT are heard before the call is given up.
    pub disconnect_tones: bool,
    /// The country code whose national numbers the line knows; empty where national numbers stay as they are.
    pub country: String,
    /// The longest echo that is taken out of what the line says; `None` leaves it in.
    pub echo_tail: Option<Tail>,
    /// By how much what the line says is made louder, dB.
    pub receive_gain: i8,
    /// By how much what the line hears is made louder, dB.
    pub transmit_gain: i8,
    /// Where the frames of its D channel are written to; `None` nowhere.
    pub capture: Option<PathBuf>,
    /// What happens on it where it is simulated.
    pub simulation: Simulation,
}

/// What a line is reached through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A cable in this process, with a telephone exchange at its far end.
    Simulated,
    /// A card under DAHDI, by the span's number.
    Dahdi(u16),
    /// osmo-e1d.
    E1d(e1d::Address),
}

/// Where a line's calls are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DChannel {
    /// In its own D timeslot.
    Own,
    /// In that of another line; all of its own timeslots carry sound.
    Of(SpanId),
    /// In that of another line, and when that fails in its own.
    BackupOf(SpanId),
}

/// Which idle timeslot the next call gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hunt {
    /// The lowest.
    Ascending,
    /// The highest.
    Descending,
    /// The network's side hunts up, the user's down: calls from both ends meet only on the last idle timeslot.
    #[default]
    Opposite,
    /// The one that is idle the longest: a bad timeslot is met least often.
    LeastRecent,
    /// The one that became idle last.
    MostRecent,
}

impl Hunt {
    /// All, in the order of the manual.
    pub const ALL: [Hunt; 5] = [Hunt::Opposite, Hunt::Ascending, Hunt::Descending, Hunt::LeastRecent, Hunt::MostRecent];
}

impl Span {
    /// The line in whose D channel its calls are set up, but for a backup.
    pub fn signalled_by(&self) -> SpanId {
        match self.d_channel {
            DChannel::Own => self.id,
            DChannel::Of(line) | DChannel::BackupOf(line) => line,
        }
    }

    /// Is `new` the same line, on which calls go on? How timeslots, numbers, tones, echoes and levels are dealt with is the
    /// next call's affair.
    pub fn goes_on_as(&self, new: &Span) -> bool {
        let Span { hunt, exclusive, overlap, disconnect_tones, country, .. } = new.clone();
        let Span { echo_tail, receive_gain, transmit_gain, .. } = *new;
        let as_new = Span { hunt, exclusive, overlap, disconnect_tones, country, ..self.clone() };
        Span { echo_tail, receive_gain, transmit_gain, ..as_new } == *new
    }

    /// Does it have a D channel, used or standing by?
    pub fn signals(&self) -> bool {
        !matches!(self.d_channel, DChannel::Of(_))
    }

    /// The timeslots that carry sound.
    pub fn bearers(&self) -> impl Iterator<Item = Timeslot> {
        let (signals, d_timeslot) = (self.signals(), self.line.d_timeslot());
        self.line.all().filter(move |timeslot| !signals || *timeslot != d_timeslot)
    }
}

/// Do the lines of a D channel go on as these?
pub fn go_on<'a>(mut old: impl Iterator<Item = &'a Arc<Span>>, mut new: impl Iterator<Item = &'a Arc<Span>>) -> bool {
    loop {
        match (old.next(), new.next()) {
            (None, None) => return true,
            (Some(old), Some(new)) if old.goes_on_as(new) => {}
            _ => return false,
        }
    }
}

/// The lines of a D channel, the one that has it first, then the others in file order.
pub fn sharing(spans: &[Arc<Span>], line: SpanId) -> impl Iterator<Item = &Arc<Span>> {
    let others = spans.iter().filter(move |span| span.signalled_by() == line && span.id != line);
    spans.iter().find(|span| span.id == line).into_iter().chain(others)
}

/// All lines, in file order.
pub fn spans(settings: &Settings<'_>, findings: &mut Findings<'_>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for known in settings.all(Section::Span) {
        let Some(span) = span(known, findings) else { continue };
        if let Some(twin) = spans.iter().find(|twin| twin.driver == span.driver && twin.driver != Driver::Simulated) {
            let what = format!("[{}] is the same line as [{}]", span.name, twin.name);
            findings.error(&known.header.span, what, "Driver and Device are equal", "the number of another line");
        }
        spans.push(span);
    }
    for known in settings.all(Section::Span) {
        group(known, &spans, findings);
        captured(known, &spans, findings);
    }
    spans
}

fn span(known: &Known<'_>, findings: &mut Findings<'_>) -> Option<Span> {
    let choice = |name, words: &[&str]| {
        let read = |text: &str| value::choice(text, words);
        known.value(name, read).or_else(|| default(Section::Span, name, read)).unwrap_or_default()
    };
    let gain = |name| known.value(name, |text| value::gain(text, MOST_GAIN)).unwrap_or_default();
    let number = known.label().parse::<u16>().ok().filter(|number| *number > 0);
    if number.is_none() {
        let why = "the number in the section's name tells lines apart, also across a reload";
        findings.error(&known.header.span, "a line has no usable number", why, "[Span1] to [Span65535]");
    }
    let line = LINE_VALUES[choice("Line", LINES)];
    let d_channel = known.value("DChannel", value::d_channel).unwrap_or(DChannel::Own);
    let interface = known.value("Interface", |text| value::number(text, 0, MOST_INTERFACE));
    Some(Span {
        id: SpanId(number?),
        name: known.header.text.clone(),
        driver: driver(known, choice("Driver", DRIVERS), findings)?,
        line,
        dialect: Dialect::ALL[choice("Switch", SWITCHES)],
        side: SIDE_VALUES[choice("Side", SIDES)],
        d_channel,
        interface: interface.and_then(|number| u8::try_from(number).ok()),
        hunt: Hunt::ALL[choice("Hunt", HUNTS)],
        exclusive: choice("Timeslot", TIMESLOTS) == 0,
        overlap: known.value("Overlap", |text| value::number(text, 1, 32)).and_then(|length| u8::try_from(length).ok()),
        disconnect_tones: known.value("DisconnectTones", value::flag).unwrap_or_default(),
        country: known
            .value("CountryCode", |text| value::number(text, 1, 999))
            .map_or_else(String::new, |code| code.to_string()),
        echo_tail: TAIL_VALUES[choice("EchoTail", super::keys::ECHO_TAILS)],
        receive_gain: gain("ReceiveGain"),
        transmit_gain: gain("TransmitGain"),
        capture: known.value("Capture", value::capture),
        simulation: simulation(known, choice("Driver", DRIVERS), findings),
    })
}

fn driver(known: &Known<'_>, driver: usize, findings: &mut Findings<'_>) -> Option<Driver> {
    let device = known.filled("Device").map(|entry| entry.value.text.as_str());
    let at = known.line("Device").map_or(known.header.span.clone(), value_or_key);
    match (DRIVERS[driver], device) {
        ("dahdi", Some(device)) => match device.parse().ok().filter(|number| (1..=128).contains(number)) {
            Some(number) => Some(Driver::Dahdi(number)),
            None => {
                findings.error(&at, "this is no span of DAHDI's", "they are numbered from 1 to 128", "Device=1");
                None
            }
        },
        ("dahdi", None) => {
            findings.error(&at, "the line has no Device", "DAHDI numbers its spans", "Device=1");
            None
        }
        ("e1d", device) => match device.unwrap_or(E1D_SOCKET).parse() {
            Ok(address) => Some(Driver::E1d(address)),
            Err(why) => {
                findings.error(&at, "this is no line of osmo-e1d's", why.to_string(), E1D_SOCKET);
                None
            }
        },
        _ => Some(Driver::Simulated),
    }
}

/// Where osmo-e1d listens unless it is told otherwise.
const E1D_SOCKET: &str = "/tmp/osmo-e1d.ctl";

/// A capture needs a D channel, and a file of its own.
fn captured(known: &Known<'_>, spans: &[Span], findings: &mut Findings<'_>) {
    let (Some(span), Some(entry)) = (spans.iter().find(|span| span.name == known.header.text), known.filled("Capture"))
    else {
        return;
    };
    let at = value_or_key(entry);
    if !span.signals() {
        let what = format!("[{}] has no D channel to capture", span.name);
        let instead = format!("Capture in [Span{}], and in the line with the backup", span.signalled_by().0);
        findings.warning(&at, what, "its calls are set up on another line", instead);
    }
    let twin = spans.iter().find(|twin| twin.id != span.id && twin.capture == span.capture && span.capture.is_some());
    if let Some(twin) = twin {
        let what = format!("[{}] and [{}] capture into one file", span.name, twin.name);
        findings.error(&at, what, "each begins it anew", "a file for each line");
    }
}

/// A line whose calls are set up elsewhere must name a line that does so, speaks alike, and tells them apart.
fn group(known: &Known<'_>, spans: &[Span], findings: &mut Findings<'_>) {
    let Some(span) = spans.iter().find(|span| span.name == known.header.text) else { return };
    let (DChannel::Of(primary) | DChannel::BackupOf(primary)) = span.d_channel else { return };
    let at = known.line("DChannel").map_or(known.header.span.clone(), value_or_key);
    let found = spans.iter().find(|other| other.id == primary && other.d_channel == DChannel::Own);
    let Some(first) = found else {
        let what = format!("[Span{}] has no D channel of its own", primary.0);
        return findings.error(&at, what, "somebody must set the calls up", "the line of the group that has one");
    };
    if (first.line, first.dialect, first.side) != (span.line, span.dialect, span.side) {
        let what = format!("[{}] and [{}] are not alike", first.name, span.name);
        findings.error(&at, what, "one D channel has one Line, Switch and Side", "the same values in both sections");
    }
    if span.dialect.is_private() {
        let why = "what private exchanges say of a timeslot (qsig) does not say on which line";
        findings.error(&at, format!("[{}] cannot share a D channel", span.name), why, "DChannel=own");
    }
    apart(known, &at, span, first, spans, findings);
}

/// What tells the lines of a D channel apart.
fn apart(known: &Known<'_>, at: &Extent, span: &Span, first: &Span, spans: &[Span], findings: &mut Findings<'_>) {
    let before = spans.iter().take_while(|other| other.id != span.id);
    let group: Vec<&Span> =
        std::iter::once(first).chain(before.filter(|other| other.signalled_by() == first.id)).collect();
    let is_backup = |span: &Span| matches!(span.d_channel, DChannel::BackupOf(_));
    if let Some(twin) = group.iter().find(|twin| is_backup(twin)).filter(|_| is_backup(span)) {
        let what = format!("[{}] is a second backup beside [{}]", span.name, twin.name);
        findings.error(at, what, "a D channel has one", format!("DChannel={}", first.name));
    }
    let Some(number) = span.interface else {
        let why = "one D channel tells its lines apart by their numbers, which the exchange's administrator knows";
        return findings.error(at, format!("[{}] has no Interface", span.name), why, "Interface=1");
    };
    if let Some(twin) = group.iter().find(|twin| twin.interface.unwrap_or_default() == number) {
        let at = known.line("Interface").map_or(at.clone(), value_or_key);
        let what = format!("[{}] has the Interface of [{}]", span.name, twin.name);
        findings.error(&at, what, "calls on the one would be taken for calls on the other", "the line's own number");
    }
}

/// Lines that no gateway names.
pub fn idle(settings: &Settings<'_>, spans: &[Span], findings: &mut Findings<'_>) {
    let named = |span: &Span| {
        let lists = settings.all(Section::Gateway).filter_map(|gateway| gateway.filled("Span"));
        lists
            .into_iter()
            .any(|list| value::words(&list.value.text).any(|(_, word)| word.eq_ignore_ascii_case(&span.name)))
    };
    let is_used = |line: SpanId| spans.iter().filter(|span| span.signalled_by() == line).any(named);
    for known in settings.all(Section::Span) {
        let Some(span) = spans.iter().find(|span| span.name == known.header.text) else { continue };
        if span.d_channel == DChannel::Own && !is_used(span.id) {
            let what = format!("no gateway has [{}]", span.name);
            let instead = format!("Span={} at a gateway of Kind=isdn", span.name);
            findings.warning(&known.header.span, what, "its calls are refused, and none goes there", instead);
        }
    }
}
