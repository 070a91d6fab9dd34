//! Serial consoles of gateways: the device in the gateway's section, and the `[Console NAME]` by which it is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::keys::{KINDS, SPEEDS, Section};
use super::settings::{Findings, Known, Settings, default};
use super::value::{self, Search, Typed};

/// First words of commands that change something on about any gateway.
const WRITES: &[&str] = &[
    "clear",
    "conf",
    "config",
    "configure",
    "copy",
    "delete",
    "erase",
    "no",
    "reboot",
    "reload",
    "reset",
    "restart",
    "set",
    "shutdown",
    "write",
];

/// A gateway's serial console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// The device.
    pub device: PathBuf,
    /// How it is read; without a script only its presence is watched.
    pub script: Option<Arc<Script>>,
}

/// How a console is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Bits a second.
    pub speed: u32,
    /// The last line when a command may be typed.
    pub prompt: Search,
    /// The last line when a long answer waits for a key.
    pub more: Option<Search>,
    /// What is waited for and what is typed then, in this order.
    pub login: Vec<(Search, Typed)>,
    /// What is asked in every round.
    pub commands: Vec<Typed>,
    /// Between rounds.
    pub interval: Duration,
    /// What is searched in the answers.
    pub alarms: Vec<AlarmRule>,
}

/// An alarm and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmRule {
    /// As the operator calls it.
    pub name: String,
    /// It stands.
    pub raise: Search,
    /// It is over; without this, when a later answer to the same command lacks `raise`.
    pub clear: Option<Search>,
}

/// The console of a gateway, if it has one that acts.
pub fn console(settings: &Settings<'_>, gateway: &Known<'_>, findings: &mut Findings<'_>) -> Option<Console> {
    let device = gateway.filled("Console")?;
    let kind = gateway.value("Kind", |text| value::choice(text, KINDS)).unwrap_or_default();
    if KINDS[kind] != "vx1200" {
        let what = format!("the console of [{}] is not read", gateway.header.text);
        findings.note(&device.value.span, what, "only gateways of Kind=vx1200 have one", "Kind=vx1200");
        return None;
    }
    Some(Console { device: device.value.text.clone().into(), script: named_script(settings, gateway, findings) })
}

fn named_script(settings: &Settings<'_>, gateway: &Known<'_>, findings: &mut Findings<'_>) -> Option<Arc<Script>> {
    let name = gateway.filled("ConsoleScript")?;
    let is = |known: &&Known<'_>| known.label().eq_ignore_ascii_case(&name.value.text);
    match settings.all(Section::Console).find(is) {
        Some(section) => script(section, findings).map(Arc::new),
        None => {
            let header = format!("[Console {}]", name.value.text);
            let why = "the name leads nowhere: only the presence of the console is watched";
            findings.warning(&name.value.span, format!("there is no {header}"), why, header);
            None
        }
    }
}

fn script(section: &Known<'_>, findings: &mut Findings<'_>) -> Option<Script> {
    let Some(prompt) = section.value("Prompt", value::search) else {
        // A pattern that cannot be read was reported.
        if section.filled("Prompt").is_none() {
            let what = format!("[{}] has no Prompt", section.header.text);
            let why = "without it nobody knows when a command may be typed, so none is sent";
            findings.warning(&section.header.span, what, why, r"Prompt=^\S+[>#]$");
        }
        return None;
    };
    let commands = commands(section, findings);
    let speed = section.value("Speed", |text| value::choice(text, SPEEDS)).map(|at| SPEEDS[at]);
    let interval = |text: &str| value::time(text, Duration::ZERO, Duration::MAX);
    Some(Script {
        speed: speed.or_else(|| Section::Console.key("Speed").map(|key| key.default))?.parse().ok()?,
        prompt,
        more: section.value("More", value::search),
        login: section.family("Login").filter_map(|(_, line)| value::step(&line.value.text).ok()).collect(),
        commands,
        interval: section.value("Interval", interval).or_else(|| default(Section::Console, "Interval", interval))?,
        alarms: alarms(section, findings),
    })
}

fn commands(section: &Known<'_>, findings: &mut Findings<'_>) -> Vec<Typed> {
    let mut commands = Vec::new();
    for (_, line) in section.family("Command") {
        let word = line.value.text.split_whitespace().next().unwrap_or_default();
        if WRITES.iter().any(|write| write.eq_ignore_ascii_case(word)) {
            let why = format!("`{word}` may change the gateway, and it is sent in every round");
            findings.warning(&line.value.span, "this command does not look harmless", why, "a command that only shows");
        }
        commands.extend(value::typed(&line.value.text).ok());
    }
    if commands.is_empty() {
        let what = format!("[{}] asks nothing", section.header.text);
        let why = "without a command there is no answer in which an alarm could be found";
        findings.warning(&section.header.span, what, why, "Command Alarms=show alarms");
    }
    commands
}

fn alarms(section: &Known<'_>, findings: &mut Findings<'_>) -> Vec<AlarmRule> {
    let search = |text: &str| value::search(text).ok();
    let clear = |name: &str| section.family("Clear").find(|(label, _)| label.eq_ignore_ascii_case(name));
    let rule = |(name, line): (&str, &super::ini::Entry)| {
        let clear = clear(name).and_then(|(_, line)| search(&line.value.text));
        Some(AlarmRule { name: name.to_owned(), raise: search(&line.value.text)?, clear })
    };
    let has_alarm = |name: &str| section.family("Alarm").any(|(label, _)| label.eq_ignore_ascii_case(name));
    for (name, line) in section.family("Clear").filter(|(name, _)| !has_alarm(name)) {
        let what = format!("there is no alarm `{name}` to clear");
        findings.warning(&line.key.span, what, "no Alarm of this section has the name", format!("Alarm {name}="));
    }
    section.family("Alarm").filter_map(rule).collect()
}
