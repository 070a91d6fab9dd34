//! SIPp with a scenario of ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::Running;
use super::{Lab, tail, until};

/// What SIPp shall play.
pub struct Scenario<'a> {
    /// The file under `tests/scenarios`, without `.xml`.
    pub name: &'a str,
    /// Where it listens and sends from.
    pub local: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: &'a str,
    /// Whom it calls; `None` when it waits to be called.
    pub calls: Option<SocketAddr>,
    /// What stands for `[number]` and the like in it.
    pub keys: &'a [(&'a str, &'a str)],
}

/// SIPp at work. What its scenario says with `<log message="..."/>` is its account of the call.
pub struct Sipp {
    running: Running,
    account: PathBuf,
    errors: PathBuf,
}

impl Sipp {
    /// Starts a gateway that waits to be called, or a caller that calls once.
    pub fn start(lab: &Lab, scenario: &Scenario<'_>) -> Sipp {
        let Scenario { name, local, protocol, calls, keys } = scenario;
        let label = format!("{name}-{}", local.ip());
        let account = lab.path(&format!("{label}.account"));
        let errors = lab.log(&format!("{label}.errors"));
        let file = lab.write(&format!("{label}.xml"), written_out(name, keys));
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(file).args(["-nostdin", "-nd", "-t", if *protocol == "TCP" { "t1" } else { "u1" }]);
        command.args(["-i", &local.ip().to_string(), "-p", &local.port().to_string(), "-timeout", "120"]);
        command.arg("-trace_logs").arg("-log_file").arg(&account);
        command.arg("-trace_err").arg("-error_file").arg(&errors);
        command.arg("-trace_msg").arg("-message_file").arg(lab.log(&format!("{label}.messages")));
        match calls {
            Some(remote) => command.arg(remote.to_string()).args(["-m", "1", "-aa"]),
            None => command.args(["-aa"]),
        };
        let running = Running::start(&mut command, &lab.path(&format!("{label}.screen")));
        if calls.is_none() {
            until(super::seconds(5), "SIPp listens", || listens(*local, protocol).then_some(()));
        }
        Sipp { running, account, errors }
    }

    /// Its account so far, a line for each step that the scenario names.
    pub fn account(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.account).unwrap_or_default();
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Waits for a line of its account.
    #[track_caller]
    pub fn expect(&self, line: &str) {
        self.expect_within(line, super::seconds(8));
    }

    /// The same with a limit of one's own.
    #[track_caller]
    pub fn expect_within(&self, line: &str, limit: Duration) {
        until(limit, &format!("SIPp says {line:?}"), || self.account().iter().any(|have| have == line).then_some(()));
    }

    /// Waits for the end of a caller and asks whether all went as its scenario says.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) {
        let status = self.running.wait(limit);
        let errors = tail(&self.errors, 40);
        assert!(status.is_some_and(|status| status.success()), "SIPp ended with {status:?}\n{errors}");
    }

    /// What it did not expect; empty when all went as the scenario says.
    pub fn surprises(&self) -> String {
        tail(&self.errors, 40)
    }

    /// Ends it without a word, as a power cut would.
    pub fn cut(&mut self) {
        self.running.cut();
    }
}

/// The scenario with its keys put in: SIPp itself reads the status of an answer before it knows any `-key`.
fn written_out(name: &str, keys: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{name}.xml"));
    let text = std::fs::read_to_string(file).unwrap();
    keys.iter().fold(text, |text, (key, value)| text.replace(&format!("[{key}]"), value))
}

/// Does somebody hold this port? Read from the kernel's table: trying to bind it could get into SIPp's way.
fn listens(address: SocketAddr, protocol: &str) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let (table, state) = if protocol == "TCP" { ("/proc/net/tcp", "0A") } else { ("/proc/net/udp", "07") };
    let own = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
    let rows = std::fs::read_to_string(table).unwrap_or_default();
    rows.lines().any(|row| {
        let mut columns = row.split_whitespace().skip(1);
        columns.next() == Some(own.as_str()) && columns.nth(1) == Some(state)
    })
}
