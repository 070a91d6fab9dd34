//! A baresip telephone: configured, started, driven over its control port, its recording found.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::child::Running;
use super::{Lab, seconds, until};

/// How a telephone speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// SIP over TLS, media encrypted: the Microsoft side.
    Tls,
    /// SIP over TCP, media in the clear: a gateway.
    Tcp,
    /// SIP over UDP, media in the clear: a gateway.
    Udp,
}

/// A telephone that answers every call to its number and plays its source into it. It lives on 127.0.0.1, because its
/// sockets send from there whatever it is told.
pub struct Phone {
    running: Running,
    control: TcpStream,
    unread: Vec<u8>,
    events: VecDeque<Value>,
    folder: PathBuf,
    log: PathBuf,
    /// Where it listens for SIP.
    pub address: SocketAddr,
}

impl Phone {
    /// A telephone of this name (`lync`, `gateway`) and number. `place` is 0 to 4 and differs between the telephones
    /// of a lab.
    pub fn start(lab: &Lab, name: &str, place: u16, number: &str, line: Line, codecs: &str, source: &Path) -> Phone {
        let folder = lab.folder(name);
        fs::create_dir_all(folder.join("heard")).unwrap();
        let sip = lab.net.local(place * 4);
        let control = lab.net.local(place * 4 + 2);
        let identity = lab.write(&format!("{name}.pem"), pem(lab, name));
        let (tls, media, transport) = match line {
            Line::Tls => (format!("sip_certificate {}\n", identity.display()), "mediaenc=srtp-mand;", ";transport=tls"),
            Line::Tcp => (String::new(), "", ";transport=tcp"),
            Line::Udp => (String::new(), "", ""),
        };
        // Toward G.722 a telephone's own resampling would cut all above 1.5 kHz.
        let (rate, source) = match codecs.starts_with("g722") {
            true => (16_000, super::audio::upsampled(lab, source, 16_000)),
            false => (8000, source.to_owned()),
        };
        fs::write(folder.join("config"), tls + &configuration(name, sip, control, &folder, rate, &source)).unwrap();
        let account = format!(
            "<sip:{number}@{}{transport}>;regint=0;{media}audio_codecs={codecs};answermode=auto;ptime=20\n",
            sip.ip()
        );
        fs::write(folder.join("accounts"), account).unwrap();
        fs::write(folder.join("contacts"), "").unwrap();
        let log = lab.log(name);
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&folder).args(["-s", "-v", "-t", "150"]);
        let mut running = Running::start(&mut command, &log);
        let control = until(seconds(8), "baresip listens", || {
            assert!(running.ended().is_none(), "baresip ended at once");
            TcpStream::connect(control).ok()
        });
        let address = if line == Line::Tls { lab.net.local(place * 4 + 1) } else { sip };
        Phone { running, control, unread: Vec::new(), events: VecDeque::new(), folder, log, address }
    }

    /// Calls a URI without its `;transport=`: the account's is added.
    #[track_caller]
    pub fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
    }

    /// Sends a command and waits for its reply.
    #[track_caller]
    pub fn command(&mut self, command: &str, parameters: &str) {
        let body = json!({ "command": command, "params": parameters, "token": command }).to_string();
        write!(self.control, "{}:{body},", body.len()).unwrap();
        let end = Instant::now() + seconds(5);
        while let Some(message) = self.receive(end) {
            if message["response"] == true {
                assert_eq!(message["ok"], true, "baresip refused {command} {parameters}: {message}");
                return;
            }
            self.events.push_back(message);
        }
        panic!("baresip did not reply to {command}");
    }

    /// The next event of a type, such as `CALL_ESTABLISHED`; others stay for later.
    #[track_caller]
    pub fn expect(&mut self, event: &str) -> Value {
        self.expect_within(event, seconds(8))
    }

    /// The same with a limit of one's own.
    #[track_caller]
    pub fn expect_within(&mut self, event: &str, limit: Duration) -> Value {
        if let Some(at) = self.events.iter().position(|have| have["type"] == event) {
            return self.events.remove(at).unwrap();
        }
        let end = Instant::now() + limit;
        while let Some(message) = self.receive(end) {
            if message["type"] == event {
                return message;
            }
            self.events.push_back(message);
        }
        let seen: Vec<_> = self.events.iter().map(|event| &event["type"]).collect();
        panic!("no {event} at {}, only {seen:?}", self.folder.display());
    }

    /// One netstring from the control port.
    fn receive(&mut self, end: Instant) -> Option<Value> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.control.set_read_timeout(Some(left)).unwrap();
            let mut part = [0; 8192];
            match self.control.read(&mut part) {
                Ok(0) => panic!("baresip closed its control port"),
                Ok(n) => self.unread.extend_from_slice(&part[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("baresip's control port: {error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Value> {
        let colon = self.unread.iter().position(|&b| b == b':')?;
        let length: usize = std::str::from_utf8(&self.unread[..colon]).ok()?.parse().ok()?;
        let body = self.unread.get(colon + 1..colon + 1 + length)?;
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        self.unread.drain(..(colon + 2 + length).min(self.unread.len()));
        Some(value)
    }

    /// The recording of what it heard last.
    #[track_caller]
    pub fn heard(&self) -> PathBuf {
        fs::read_dir(self.folder.join("heard"))
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok())
            .expect("baresip recorded what it heard")
    }

    /// The digits it was told by RFC 4733, each at its end.
    pub fn digits(&self) -> String {
        const EVENT: &str = "received event: '";
        self.log_text()
            .split(EVENT)
            .skip(1)
            .filter(|rest| rest.get(1..).is_some_and(|rest| rest.starts_with("' (end=1)")))
            .filter_map(|rest| rest.chars().next())
            .collect()
    }

    /// What its meter shows: bit/s sent and received. It counts over 3 s.
    pub fn meter(&self) -> (u32, u32) {
        let text = self.log_text();
        let reading = text.rsplit("audio=").find_map(|rest| {
            let (sent, received) = rest.split_once(" (bit/s)")?.0.split_once('/')?;
            Some((sent.parse().ok()?, received.parse().ok()?))
        });
        reading.unwrap_or_default()
    }

    /// How often a text stands in its log, SIP trace included.
    pub fn logged(&self, text: &str) -> usize {
        self.log_text().matches(text).count()
    }

    fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends it without a word, as a power cut would.
    pub fn cut(&mut self) {
        self.running.cut();
    }
}

/// Certificate and key in one file; the Lync telephone carries the name that the daemon trusts.
fn pem(lab: &Lab, name: &str) -> Vec<u8> {
    let leaf = lab.authority.leaf(&format!("{name}.lab.test"));
    [leaf.certificate, leaf.key].concat()
}

fn configuration(name: &str, sip: SocketAddr, control: SocketAddr, folder: &Path, rate: u32, source: &Path) -> String {
    let modules = ["g711", "g722", "opus", "aufile", "ausine", "aubridge", "sndfile", "srtp"];
    let programs = ["menu", "ctrl_tcp", "debug_cmd"];
    let mut text = format!(
        "poll_method epoll\nsip_listen {sip}\nnet_interface {}\nctrl_tcp_listen {control}\nsnd_path {}\n\
         call_local_timeout 120\ncall_max_calls 8\naudio_player aubridge,{name}\naudio_source aufile,{}\n\
         audio_alert ausine,440\nausrc_srate {rate}\nauplay_srate {rate}\nausrc_channels 1\nauplay_channels 1\n\
         ausrc_format s16\nauplay_format s16\nauenc_format s16\naudec_format s16\nrtp_ports 20000-29998\n\
         jitter_buffer_delay 1-20\nrtcp_mux no\nrtp_stats yes\nmodule_path /usr/lib/baresip/modules\n\
         module_tmp uuid.so\nmodule_tmp account.so\n",
        sip.ip(),
        folder.join("heard").display(),
        source.display(),
    );
    text.extend(modules.iter().map(|module| format!("module {module}.so\n")));
    text.extend(programs.iter().map(|module| format!("module_app {module}.so\n")));
    text
}
