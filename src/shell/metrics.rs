//! Prometheus metrics (CONTRACT names): counters grow as reports come, gauges are set from a
//! snapshot when somebody scrapes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firmware_io::Alarms;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::alarm::{Alarm, Severity};
use crate::call::{Heading, Snapshot, SpanView, TrunkView};
use crate::clock::Standing;
use crate::session::{Counters, Mos};

/// Scores that tell a bad call from a fair one, and a fair one from a good one.
const SCORES: [f64; 12] = [1.5, 2.0, 2.5, 3.0, 3.2, 3.4, 3.6, 3.8, 4.0, 4.2, 4.3, 4.4];

/// A label value: a name of ours or a word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(pub String);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

macro_rules! labels {
    ($($name:ident { $($field:ident),* })*) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: Label),* }
        impl $name {
            fn of($($field: &str),*) -> $name { $name { $($field: Label($field.to_owned())),* } }
        }
    )* };
}

labels! {
    Trunk { trunk }
    Calls { trunk, direction }
    Results { trunk, direction, result }
    Transfers { trunk, mode, result }
    Responses { trunk, method, code }
    Packets { side, direction }
    Side { side }
    Rejected { side, reason }
    Handshakes { peer, reason }
    Role { role }
    Outcome { result }
    Referrers { trunk, verdict }
    Source { source }
    Severities { severity }
    Voice { trunk, voice }
    GatewayAlarm { trunk, alarm }
    Traps { trunk, result }
    Span { span }
    Timeslots { span, state }
    SpanAlarm { span, alarm }
    Bearers { fault }
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    calls_active: Family<Calls, Gauge>,
    calls: Family<Results, Counter>,
    transfers: Family<Transfers, Counter>,
    setup: Histogram,
    mos: Histogram,
    lateness: Histogram,
    responses: Family<Responses, Counter>,
    trunk_up: Family<Trunk, Gauge>,
    peer_clock: Family<Trunk, Gauge>,
    gateway_heard: Family<Voice, Gauge>,
    gateway_alarms: Family<GatewayAlarm, Gauge>,
    traps: Family<Traps, Counter>,
    spans: Spans,
    packets: Family<Packets, Counter>,
    lost: Family<Side, Counter>,
    bearers: Family<Bearers, Counter>,
    rejected: Family<Rejected, Counter>,
    handshakes: Family<Handshakes, Counter>,
    expiry: Family<Role, Gauge>,
    reloads: Family<Outcome, Counter>,
    referrers: Family<Referrers, Counter>,
    transactions: Gauge,
    dropped: Counter,
    clock_offset: Family<Source, Gauge<f64, AtomicU64>>,
    clock_trusted: Gauge,
    alarms: Family<Severities, Gauge>,
}

impl Metrics {
    /// Empty metrics; `make` is the name of the program's version.
    pub fn new(version: &'static str) -> Metrics {
        let setup = || exponential_buckets(0.01, 2.0, 14);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("demarc"),
            calls_active: Family::default(),
            calls: Family::default(),
            transfers: Family::default(),
            setup: Histogram::new(setup()),
            mos: Histogram::new(SCORES),
            lateness: Histogram::new(exponential_buckets(0.0001, 2.0, 12)),
            responses: Family::default(),
            trunk_up: Family::default(),
            peer_clock: Family::default(),
            gateway_heard: Family::default(),
            gateway_alarms: Family::default(),
            traps: Family::default(),
            spans: Spans::default(),
            packets: Family::default(),
            lost: Family::default(),
            bearers: Family::default(),
            rejected: Family::default(),
            handshakes: Family::default(),
            expiry: Family::default(),
            reloads: Family::default(),
            referrers: Family::default(),
            transactions: Gauge::default(),
            dropped: Counter::default(),
            clock_offset: Family::default(),
            clock_trusted: Gauge::default(),
            alarms: Family::default(),
        };
        metrics.register(version);
        metrics
    }

    fn register(&mut self, version: &'static str) {
        let registry = &mut self.registry;
        registry.register("build", "What runs here", Info::new([("version", version)]));
        registry.register("calls_active", "Live calls", self.calls_active.clone());
        registry.register("calls", "Finished calls", self.calls.clone());
        let transfers =
            "Transfers that were asked for; in mode line, calls that one left on a line and its exchange was to join";
        registry.register("transfers", transfers, self.transfers.clone());
        registry.register("call_setup_seconds", "From INVITE to answer", self.setup.clone());
        registry.register("call_mos", "The worst score of any way of a call's legs", self.mos.clone());
        let lateness = "How late a media thread was for its deadlines, at worst in each second that had any";
        registry.register("media_tick_lateness_seconds", lateness, self.lateness.clone());
        registry.register("sip_responses", "SIP responses sent and received", self.responses.clone());
        registry.register("trunk_up", "1 while the trunk answers", self.trunk_up.clone());
        let peer_clock = "A peer's clock minus ours, as the Date of its messages shows it";
        registry.register("peer_clock_offset_seconds", peer_clock, self.peer_clock.clone());
        let heard = "1 while what a gateway says of itself is heard";
        registry.register("gateway_heard", heard, self.gateway_heard.clone());
        let alarms = "Alarms of a gateway that stand, by kind";
        registry.register("gateway_alarms", alarms, self.gateway_alarms.clone());
        registry.register("traps", "SNMP traps received, by what became of them", self.traps.clone());
        self.spans.register(registry);
        registry.register("rtp_packets", "RTP packets relayed", self.packets.clone());
        registry.register("rtp_lost_packets", "RTP packets missing by sequence number", self.lost.clone());
        let bearers = "Frames that slipped between two lines; pieces of sound that were fitted to a line's clock; times at which \
                       a line had nothing to say, or took less than it said";
        registry.register("bearer_faults", bearers, self.bearers.clone());
        registry.register("rtp_rejected_packets", "RTP packets and ICE checks refused", self.rejected.clone());
        registry.register("tls_handshake_failures", "TLS handshakes that failed", self.handshakes.clone());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate of ours ends",
            self.expiry.clone(),
        );
        registry.register("config_reloads", "Configuration reloads", self.reloads.clone());
        let referrers = "Transfers asked for, by what is to be said of their referrer's identity";
        registry.register("referrer_identities", referrers, self.referrers.clone());
        registry.register("sip_transactions_active", "Running SIP transactions", self.transactions.clone());
        registry.register("reports_dropped", "Reports lost because the observer was behind", self.dropped.clone());
        let offset = "The system's clock minus an NTP server's: positive is ahead";
        registry.register("clock_offset_seconds", offset, self.clock_offset.clone());
        registry.register("clock_trusted", "1 while the true time is known", self.clock_trusted.clone());
        registry.register("alarms", "Alarms that stand: see /api/alarms", self.alarms.clone());
    }

    /// A media thread was so late.
    pub fn late(&self, worst: Duration) {
        self.lateness.observe(worst.as_secs_f64());
    }

    /// A response was seen.
    pub fn response(&self, trunk: &str, method: &str, status: u16) {
        self.responses.get_or_create(&Responses::of(trunk, method, &status.to_string())).inc();
    }

    /// A call ended.
    pub fn ended(&self, trunk: &str, heading: Heading, result: &str, setup_seconds: Option<f64>) {
        self.calls.get_or_create(&Results::of(trunk, direction(heading), result)).inc();
        if let Some(seconds) = setup_seconds {
            self.setup.observe(seconds);
        }
    }

    /// A transfer came to its end.
    pub fn transferred(&self, trunk: &str, mode: &str, result: &str) {
        self.transfers.get_or_create(&Transfers::of(trunk, mode, result)).inc();
    }

    /// How an answered call sounded.
    pub fn sounded(&self, mos: Mos) {
        self.mos.observe(mos.score());
    }

    /// More packets than before on one side.
    pub fn packets(&self, side: &str, grown: &Counters) {
        self.packets.get_or_create(&Packets::of(side, "received")).inc_by(grown.received);
        self.packets.get_or_create(&Packets::of(side, "sent")).inc_by(grown.sent);
        self.lost.get_or_create(&Side::of(side)).inc_by(grown.lost);
        let faults =
            [("slip", grown.slips), ("fit", grown.fitted), ("underrun", grown.underruns), ("overrun", grown.overruns)];
        for (fault, count) in faults {
            self.bearers.get_or_create(&Bearers::of(fault)).inc_by(count);
        }
        let reasons = [
            ("stranger", grown.stranger),
            ("unchecked", grown.unchecked),
            ("unproven", grown.unproven),
            ("unauthentic", grown.unauthentic),
            ("replayed", grown.replayed),
            ("malformed", grown.malformed),
        ];
        for (reason, count) in reasons {
            self.rejected.get_or_create(&Rejected::of(side, reason)).inc_by(count);
        }
    }

    /// How many handshakes have failed so far.
    pub fn handshakes_failed(&self, peer: &str, reason: &str, count: u64) {
        self.handshakes.get_or_create(&Handshakes::of(peer, reason)).inner().store(count, Ordering::Relaxed);
    }

    /// When the certificate of a role ends, seconds since 1970.
    pub fn certificate(&self, role: &str, expires: i64) {
        self.expiry.get_or_create(&Role::of(role)).set(expires);
    }

    /// A reload worked, or left everything as it was.
    pub fn reloaded(&self, result: &str) {
        self.reloads.get_or_create(&Outcome::of(result)).inc();
    }

    /// An SNMP trap came.
    pub fn trap(&self, trunk: &str, result: &str) {
        self.traps.get_or_create(&Traps::of(trunk, result)).inc();
    }

    /// A transfer was asked for.
    pub fn referrer(&self, trunk: &str, verdict: &str) {
        self.referrers.get_or_create(&Referrers::of(trunk, verdict)).inc();
    }

    /// What each NTP server says; one that says nothing has no sample.
    pub fn clock(&self, standing: &Standing) {
        self.clock_offset.clear();
        for server in &standing.servers {
            if let Some(offset) = server.offset_seconds {
                self.clock_offset.get_or_create(&Source::of(&server.name)).set(offset);
            }
        }
        self.clock_trusted.set(i64::from(standing.truth.is_some()));
    }

    /// How many alarms stand.
    pub fn alarms(&self, alarms: &[Alarm]) {
        for severity in Severity::ALL {
            let count = alarms.iter().filter(|alarm| alarm.severity == severity).count();
            self.alarms.get_or_create(&Severities::of(severity.text())).set(count as i64);
        }
    }

    /// Reports that the observer never saw.
    pub fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// The exposition text, with gauges as of this snapshot.
    pub fn expose(&self, snapshot: &Snapshot) -> String {
        self.gateways(&snapshot.trunks);
        for trunk in &snapshot.trunks {
            self.trunk_up.get_or_create(&Trunk::of(&trunk.name)).set(i64::from(trunk.up != Some(false)));
            if let Some(seconds) = trunk.clock_offset_seconds {
                self.peer_clock.get_or_create(&Trunk::of(&trunk.name)).set(seconds);
            }
            for heading in [Heading::In, Heading::Out] {
                let count = i64::from(trunk.calls[heading as usize]);
                self.calls_active.get_or_create(&Calls::of(&trunk.name, direction(heading))).set(count);
            }
        }
        self.spans.set(&snapshot.spans);
        self.transactions.set(snapshot.transactions as i64);
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    /// What gateways say of themselves, counted: names of lines and alarms are the administrator's own words.
    fn gateways(&self, trunks: &[TrunkView]) {
        self.gateway_heard.clear();
        self.gateway_alarms.clear();
        for (trunk, view) in trunks.iter().map(|trunk| (&trunk.name, &trunk.gateway)) {
            for voice in &view.voices {
                self.gateway_heard.get_or_create(&Voice::of(trunk, voice.voice.label())).set(i64::from(voice.heard));
            }
            let of_lines = view.lines.iter().flat_map(|line| &line.alarms).map(|alarm| alarm.alarm);
            for kind in of_lines.chain(view.alarms.iter().map(|_| "other")) {
                self.gateway_alarms.get_or_create(&GatewayAlarm::of(trunk, kind)).inc();
            }
        }
    }
}

/// What is known of lines.
#[derive(Default)]
struct Spans {
    up: Family<Span, Gauge>,
    alarms: Family<SpanAlarm, Gauge>,
    d_channels: Family<Span, Gauge>,
    timeslots: Family<Timeslots, Gauge>,
    slips: Family<Span, Counter>,
    errored: Family<Span, Counter>,
    healed: Family<Span, Counter>,
}

impl Spans {
    fn register(&self, registry: &mut Registry) {
        registry.register("span_up", "1 while the line is there and without alarm", self.up.clone());
        registry.register("span_alarms", "1 while the alarm stands on the line", self.alarms.clone());
        let d_channels = "1 while the line's D channel carries signalling";
        registry.register("span_d_channel_up", d_channels, self.d_channels.clone());
        registry.register("timeslots", "Timeslots of the line, by what they are used for", self.timeslots.clone());
        let slips = "Frames repeated or left out since the line was opened";
        registry.register("span_slips", slips, self.slips.clone());
        let errored = "Seconds with an error of any kind since the line was opened";
        registry.register("span_errored_seconds", errored, self.errored.clone());
        let healed = "Timeslots that one end alone held for busy, until a RESTART healed that";
        registry.register("span_healed_timeslots", healed, self.healed.clone());
    }

    /// A line that is gone has no sample.
    fn set(&self, views: &[SpanView]) {
        self.up.clear();
        self.alarms.clear();
        self.d_channels.clear();
        self.timeslots.clear();
        self.slips.clear();
        self.errored.clear();
        self.healed.clear();
        views.iter().for_each(|view| self.set_one(view));
    }

    fn set_one(&self, view: &SpanView) {
        let span = Span::of(&view.name);
        self.up.get_or_create(&span).set(i64::from(view.up));
        for alarm in (Alarms::LOS | Alarms::LOF | Alarms::AIS | Alarms::RAI).names() {
            let stands = view.alarms.contains(&alarm);
            self.alarms.get_or_create(&SpanAlarm::of(&view.name, alarm)).set(i64::from(stands));
        }
        if view.d_channel.is_some() {
            self.d_channels.get_or_create(&span).set(i64::from(view.d_channel_is_up()));
        }
        for state in ["idle", "in", "out", "setup", "blocked", "dchannel"] {
            // Near and far are one here.
            let count = view.timeslots.iter().filter(|slot| slot.state.split('-').next() == Some(state)).count();
            self.timeslots.get_or_create(&Timeslots::of(&view.name, state)).set(count as i64);
        }
        self.healed.get_or_create(&span).inner().store(view.healed_timeslots, Ordering::Relaxed);
        if let Some(counters) = &view.counters {
            self.slips.get_or_create(&span).inner().store(counters.slips, Ordering::Relaxed);
            self.errored.get_or_create(&span).inner().store(counters.errored_seconds, Ordering::Relaxed);
        }
    }
}

fn direction(heading: Heading) -> &'static str {
    match heading {
        Heading::In => "in",
        Heading::Out => "out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::Text;
    use crate::call::SpanCounters;
    use crate::clock::ServerStanding;
    use crate::shell::span::order::tests::view;
    use crate::time::Now;

    #[test]
    fn the_names_are_the_contracts() {
        let metrics = Metrics::new("0");
        metrics.ended("Gateway1", Heading::Out, "answered", Some(0.2));
        metrics.response("lync", "INVITE", 200);
        metrics.transferred("Gateway1", "handled", "reached");
        metrics.late(Duration::from_micros(150));
        metrics.packets("lync", &Counters { received: 5, slips: 2, ..Counters::default() });
        metrics.sounded(Mos::new(4.41));
        let server = |name: &str, offset| ServerStanding {
            name: name.to_owned(),
            offset_seconds: offset,
            ..ServerStanding::default()
        };
        let servers = vec![server("time1:123", Some(30.25)), server("time2", None)];
        metrics.clock(&Standing { servers, ..Standing::default() });
        let now = Now::virtual_start();
        metrics.alarms(&[Alarm::new(now, now.mono, Severity::Major, "Gateway1", Text::new("", "", ""))]);
        let counters = Some(SpanCounters { slips: 3, errored_seconds: 2, ..SpanCounters::default() });
        let line = view(&["in", "out", "out", "blocked-near", "blocked-far"]);
        let line = SpanView { up: false, alarms: vec!["RAI"], counters, healed_timeslots: 4, ..line };
        let text = metrics.expose(&Snapshot { spans: vec![line], ..Snapshot::default() });
        for line in [
            "demarc_build_info{version=\"0\"} 1",
            "demarc_calls_total{trunk=\"Gateway1\",direction=\"out\",result=\"answered\"} 1",
            "demarc_transfers_total{trunk=\"Gateway1\",mode=\"handled\",result=\"reached\"} 1",
            "demarc_sip_responses_total{trunk=\"lync\",method=\"INVITE\",code=\"200\"} 1",
            "demarc_rtp_packets_total{side=\"lync\",direction=\"received\"} 5",
            "demarc_bearer_faults_total{fault=\"slip\"} 2",
            "demarc_bearer_faults_total{fault=\"underrun\"} 0",
            "demarc_media_tick_lateness_seconds_bucket{le=\"0.0002\"} 1",
            "demarc_call_setup_seconds_count 1",
            "demarc_call_mos_bucket{le=\"4.4\"} 0",
            "demarc_call_mos_sum 4.41",
            "demarc_clock_offset_seconds{source=\"time1:123\"} 30.25",
            "demarc_clock_trusted 0",
            "demarc_alarms{severity=\"critical\"} 0",
            "demarc_alarms{severity=\"major\"} 1",
            "demarc_span_up{span=\"Span1\"} 0",
            "demarc_span_alarms{span=\"Span1\",alarm=\"RAI\"} 1",
            "demarc_span_alarms{span=\"Span1\",alarm=\"LOS\"} 0",
            "demarc_span_d_channel_up{span=\"Span1\"} 1",
            "demarc_timeslots{span=\"Span1\",state=\"idle\"} 18",
            "demarc_timeslots{span=\"Span1\",state=\"out\"} 2",
            "demarc_timeslots{span=\"Span1\",state=\"setup\"} 0",
            "demarc_timeslots{span=\"Span1\",state=\"blocked\"} 2",
            "demarc_timeslots{span=\"Span1\",state=\"dchannel\"} 1",
            "demarc_span_slips_total{span=\"Span1\"} 3",
            "demarc_span_errored_seconds_total{span=\"Span1\"} 2",
            "demarc_span_healed_timeslots_total{span=\"Span1\"} 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
