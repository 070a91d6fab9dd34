//! The stage: a directory with certificates and the box's configuration, free ports on loopback, and
//! who is reached where.
//!
//! ```text
//!  telephone            box                     telephone
//!  pool01.demo.test     ms1.demo.test           gateway
//!      pool  <--- TLS --->  microsoft
//!                           trunk  <--- TCP --->  gateway, or a T1 instead
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pki::{self, Identity, Pki};
use crate::config::{self, Config};
use crate::random::Random;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where the page of a box that stays up is served, unless something else is there.
const WEB: u16 = 8085;
/// So many media ports in a row.
const MEDIA_PORTS: u16 = 40;
/// Ports are sought below those that the system gives out by itself: nobody takes them meanwhile.
const LOWEST: u16 = 20_000;
const HIGHEST: u16 = 32_000;
const TRIES: usize = 100;
/// The line, and the trunk that it is. No echo is on it, and what takes echoes away changes octets.
const T1: &str = "[Span1]\nDriver=simulated\nLine=T1\nSwitch=ni2\nCountryCode=1\nEchoTail=off\n\n\
                  [Gateway1]\nKind=isdn\nSpan=Span1\n";
/// The file that the box is started with.
const FILE: &str = "demarc.ini";

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The directory.
    #[error("no directory for the demonstration can be made under {directory}: {1}", directory = .0.display())]
    Directory(PathBuf, io::Error),
    /// The certificates.
    #[error(transparent)]
    Pki(#[from] pki::Fault),
    /// Ports.
    #[error("no free ports on loopback: {0}")]
    Ports(io::Error),
    /// The file.
    #[error("{file} cannot be written: {1}", file = .0.display())]
    File(PathBuf, io::Error),
    /// What we wrote is not what we read.
    #[error("the configuration of a telephone is refused: {0}")]
    Configuration(String),
}

/// What stands for the telephone network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// A T1 with a telephone exchange at its far end.
    T1,
    /// A SIP gateway.
    Sip,
}

/// Everything the demonstration stands on. Dropping it removes the directory.
#[derive(Debug)]
pub struct Stage {
    network: Network,
    directory: tempfile::TempDir,
    pki: Pki,
    /// Where the Microsoft side reaches the box.
    pub microsoft: SocketAddr,
    /// Where gateways reach the box.
    pub trunk: SocketAddr,
    pool: SocketAddr,
    gateway: SocketAddr,
    spare: SocketAddr,
    web: SocketAddr,
    media: (u16, u16),
}

impl Stage {
    /// Makes certificates, chooses ports, writes the configuration of a box that `stays` up or not.
    pub fn build(network: Network, random: &mut Random, stays: bool) -> Result<Stage, Fault> {
        let made = tempfile::Builder::new().prefix("demarc-demo-").tempdir();
        let directory = made.map_err(|fault| Fault::Directory(std::env::temp_dir(), fault))?;
        let pki = Pki::make(directory.path())?;
        let [microsoft, trunk, pool, gateway, spare, other_web] = free_ports(random).map_err(Fault::Ports)?;
        let web = SocketAddr::new(LOOPBACK, WEB);
        let web = if stays && TcpListener::bind(web).is_ok() { web } else { other_web };
        let media = media_ports(random).map_err(Fault::Ports)?;
        let stage = Stage { network, directory, pki, microsoft, trunk, pool, gateway, spare, web, media };
        std::fs::write(stage.file(), stage.box_ini()).map_err(|fault| Fault::File(stage.file(), fault))?;
        Ok(stage)
    }

    /// The box's configuration.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    /// The configuration of the Lync-side telephone: it stands where the pool would, and has the
    /// box for its next hop.
    pub fn pool(&self) -> Result<Arc<Config>, Fault> {
        let identity = self.lync(&self.pki.pool, self.pool, self.microsoft, &self.pki.appliance);
        self.parse(&format!("{identity}TcpListen=\n{}", self.sound()))
    }

    /// The configuration of the telephone behind the gateway; of its Microsoft side nothing is used.
    pub fn gateway(&self) -> Result<Arc<Config>, Fault> {
        let identity = self.lync(&self.pki.pool, self.spare, self.pool, &self.pki.pool);
        let trunk = format!("TcpListen={}\n[Gateway1]\n{}", self.gateway, peer(self.trunk));
        self.parse(&format!("{identity}{trunk}{}", self.sound()))
    }

    fn box_ini(&self) -> String {
        let lync = self.lync(&self.pki.appliance, self.microsoft, self.pool, &self.pki.pool);
        let (trunk, web) = (self.trunk, self.web);
        let gateway = match self.network {
            Network::T1 => T1.to_owned(),
            Network::Sip => format!("[Gateway1]\n{}", peer(self.gateway)),
        };
        format!(
            "; The configuration of a demonstration: everything is on this machine.\n{lync}\
             TcpListen={trunk}\n\n{gateway}VoiceRoutes=LocalRoute\nEnableReferSupport=False\n\n\
             [HybridVoiceRoutes]\nLocalRoute=^\\+1312\\d{{7}}$\n{}{web}\n",
            self.sound()
        )
    }

    /// `[Lync]` of `own` who listens at `listen`, with `peer` at `next_hop`; and `[Trunks]`, closed
    /// until a listener is added.
    fn lync(&self, own: &Identity, listen: SocketAddr, next_hop: SocketAddr, peer: &Identity) -> String {
        let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (certificate, key, roots) = (file(&own.certificate), file(&own.key), file(&self.pki.roots));
        format!(
            "[Lync]\nProfile=sfb2019\nFqdn={}\nListen={listen}\nNextHop={next_hop}\nCertificate={certificate}\n\
             PrivateKey={key}\nTrustedRoots={roots}\nTrustedPeers={}\nSRTPMode=Required\n\n\
             [Trunks]\nTlsListen=\nUdpListen=\n",
            own.name, peer.name
        )
    }

    fn sound(&self) -> String {
        let (first, last) = self.media;
        format!("\n[Media]\nAddress={LOOPBACK}\nPorts={first}-{last}\nCodecs=PCMU\n\n[Web]\nListen=")
    }

    fn parse(&self, text: &str) -> Result<Arc<Config>, Fault> {
        match config::parse(text.as_bytes(), &self.file().to_string_lossy()) {
            Ok((config, _)) => Ok(Arc::new(config)),
            Err(findings) => {
                let what = findings.into_iter().next().map(|finding| finding.what);
                Err(Fault::Configuration(what.unwrap_or_default()))
            }
        }
    }
}

/// Lines of a gateway section.
fn peer(address: SocketAddr) -> String {
    format!("IP={}\nPort={}\nProtocol=TCP\n", address.ip(), address.port())
}

/// All are held at once, so that no two are the same.
fn free_ports<const N: usize>(random: &mut Random) -> io::Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(attempt(|| TcpListener::bind((LOOPBACK, port(random))))?);
    }
    let mut ports = [SocketAddr::new(LOOPBACK, 0); N];
    for (port, held) in ports.iter_mut().zip(&held) {
        *port = held.local_addr()?;
    }
    Ok(ports)
}

/// First and last of a range that is free all through.
fn media_ports(random: &mut Random) -> io::Result<(u16, u16)> {
    attempt(|| {
        let first = port(random) & !1;
        let last = first + MEDIA_PORTS - 1;
        let held = (first..=last).map(|port| UdpSocket::bind((LOOPBACK, port))).collect::<io::Result<Vec<_>>>();
        held.map(|_| (first, last))
    })
}

fn port(random: &mut Random) -> u16 {
    LOWEST + random.below(u64::from(HIGHEST - LOWEST)) as u16
}

/// Tries until it works or the last try fails.
fn attempt<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    (1..TRIES).map(|_| bind()).find(Result::is_ok).unwrap_or_else(bind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SrtpMode;
    use crate::hop::Transport;

    #[test]
    fn everybody_is_where_the_others_look() {
        let stage = Stage::build(Network::Sip, &mut Random::test(1), false).unwrap();
        let text = std::fs::read(stage.file()).unwrap();
        let (own, findings) = config::parse(&text, &stage.file().to_string_lossy()).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(own.lync().srtp, SrtpMode::Required);
        let (pool, gateway) = (stage.pool().unwrap(), stage.gateway().unwrap());
        let port = |hop: &crate::hop::Target| hop.port.unwrap_or_default();
        assert_eq!(port(&own.lync().hops[0]), pool.lync_listen.port());
        assert_eq!(port(&pool.lync().hops[0]), own.lync_listen.port());
        assert_eq!(Some(port(&own.gateways()[0].hops[0])), gateway.trunk_listen.tcp.map(|tcp| tcp.port()));
        assert_eq!(Some(port(&gateway.gateways()[0].hops[0])), own.trunk_listen.tcp.map(|tcp| tcp.port()));
        assert_eq!(gateway.gateways()[0].hops[0].transport, Transport::Tcp);
        assert!(own.routes[0].pattern.is_match("+13125556789").unwrap());
    }

    #[test]
    fn the_box_has_a_line_where_that_is_wanted() {
        let stage = Stage::build(Network::T1, &mut Random::test(3), false).unwrap();
        let text = std::fs::read(stage.file()).unwrap();
        let (own, findings) = config::parse(&text, &stage.file().to_string_lossy()).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(own.gateways()[0].spans, [own.spans[0].id]);
    }

    #[test]
    fn the_directory_goes_with_the_stage() {
        let stage = Stage::build(Network::Sip, &mut Random::test(2), true).unwrap();
        let file = stage.file();
        assert!(file.exists());
        drop(stage);
        assert!(!file.exists());
    }
}
