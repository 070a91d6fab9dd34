//! At the door of every transfer: the referrer's identity is judged, refused where the configuration wants that, and
//! when a server out there refuses it, the ladder says whose clock is wrong.

use std::net::IpAddr;

use super::{Asked, Switch, Turn};
use crate::call::b2bua::{CallKey, LegKey};
use crate::call::leg::Heard;
use crate::call::peer_clock::News;
use crate::call::report::Report;
use crate::call::switch::Output;
use crate::hop::{Flow, TrunkId};
use crate::identity::window::Window;
use crate::identity::{self, Tolerance, blame};
use crate::wire::sip::{Message, Method, Name};

impl Switch {
    /// A REFER in a call: the leg hears it unless its identity is refused.
    pub(super) fn referred(&mut self, key: CallKey, leg: LegKey, asked: Asked, turn: &mut Turn<'_>) {
        let (trunk, message) = (asked.flow.trunk, &asked.message);
        let value = message.value(Name::ReferredBy);
        let tolerance = Tolerance { ahead: self.config.clock.max_ahead, behind: self.config.clock.max_behind };
        let judged = identity::judge(value, message.date(), turn.now.wall, tolerance);
        let kind = self.config.trunk(trunk).map(|trunk| trunk.kind);
        let refusal = kind.and_then(|kind| judged.refusal(self.config.referrer_identity, kind));
        turn.out.push(Output::Report(Report::Referrer { trunk, verdict: judged.verdict }));
        if let (Some(offset), Some(watch)) = (judged.offset, self.watch_mut(trunk)) {
            watch.clock.signed(turn.now, offset);
        }
        if let Some(entry) = self.calls.get_mut(key) {
            let (call, text) = (entry.call.id.clone(), judged.to_string().into());
            turn.out.push(Output::Report(Report::Note { call, text }));
            entry.referrer = Some(judged);
        }
        match refusal {
            Some(release) => self.refuse_for(&asked, release, turn),
            None => self.tell(key, leg, Heard::Request(asked.flow, asked.id, asked.message), turn),
        }
    }

    /// What the Date of a peer's message says of its clock. While that is off, the ladder of every call says so once.
    pub(super) fn watch_clock(&mut self, trunk: TrunkId, message: &Message, turn: &mut Turn<'_>) {
        let Some(date) = message.date() else { return };
        let Some(watch) = self.watch_mut(trunk) else { return };
        let (news, off, name) = (watch.clock.heard(turn.now, date), watch.clock.off(), watch.trunk.name.clone());
        turn.out.extend(news.map(|news| Output::Report(clock_report(trunk, &name, news))));
        let Some(offset) = off else { return };
        let Some(key) = self.calls.of_call_id(message).next().map(|(key, _)| key) else { return };
        let Some(entry) = self.calls.get_mut(key).filter(|entry| !entry.clocks_told.contains(&trunk)) else { return };
        entry.clocks_told.push(trunk);
        let (call, text) = (entry.call.id.clone(), blame::peer_is_off(&name, offset).to_string().into());
        turn.out.push(Output::Report(Report::Note { call, text }));
    }

    /// A handshake failed for the dates of a certificate: one of two clocks is wrong.
    pub(super) fn watch_window(&mut self, trunk: TrunkId, remote: IpAddr, window: Window, turn: &mut Turn<'_>) {
        let Some(watch) = self.watch_mut(trunk) else { return };
        if watch.clock.failed(turn.now, remote, window) {
            let why = window.text(&watch.trunk.name, turn.now).to_string().into();
            turn.out.push(Output::Report(Report::PeerClock { trunk, good: false, why }));
        }
    }

    /// A message came by TLS: both sides took each other's certificates.
    pub(super) fn watch_handshake(&mut self, flow: Flow, turn: &mut Turn<'_>) {
        let Some(watch) = self.watch_mut(flow.trunk) else { return };
        if watch.clock.spoke(flow.remote.ip()) {
            let why = "the dates of certificates are good to both sides again".into();
            turn.out.push(Output::Report(Report::PeerClock { trunk: flow.trunk, good: true, why }));
        }
    }

    /// A 429 to a request of a call, or in the NOTIFY about its transfer: the reason in words, for the ladder.
    pub(super) fn explain_refused_identity(&self, trunk: TrunkId, message: &Message, turn: &mut Turn<'_>) {
        if !refuses_identity(message) {
            return;
        }
        let Some((key, call)) = self.calls.of_call_id(message).next() else { return };
        let by = self.config.trunk(trunk).map_or("", |trunk| &trunk.name);
        let lines = message.diagnostics();
        let window = self.watch(trunk).and_then(|watch| watch.clock.window(turn.now, by));
        let window = window.map(|text| format!("{}: {}", text.what, text.remedy));
        let why = blame::Refused {
            by,
            diagnostic: lines.min_by_key(|line| line.number != identity::UNVERIFIED),
            identity: self.calls.get(key).and_then(|entry| entry.referrer.as_ref()),
            clock: message.date().map(|date| date.duration_since(turn.now.wall)),
            window: window.as_deref(),
            trusted: turn.now.error.is_some(),
        }
        .why();
        turn.out.push(Output::Report(Report::Note { call: call.id.clone(), text: why.into() }));
    }
}

fn clock_report(trunk: TrunkId, name: &str, news: News) -> Report {
    match news {
        News::Off(offset) => {
            Report::PeerClock { trunk, good: false, why: blame::peer_is_off(name, offset).to_string().into() }
        }
        News::Right => Report::PeerClock { trunk, good: true, why: "its clock agrees with ours again".into() },
    }
}

fn refuses_identity(message: &Message) -> bool {
    let reports = message.is(Method::Notify) && message.body().starts_with(b"SIP/2.0 429 ");
    message.status() == Some(429) || reports
}
