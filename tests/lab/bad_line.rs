//! A bad line between the daemon and a gateway, for SIP over UDP.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::peer::Message;

/// Loses the first message of every kind (INVITE, 200 to it, ACK, ...) and delivers all later ones twice.
pub struct BadLine {
    over: Arc<AtomicBool>,
}

impl BadLine {
    /// `front` faces `daemon` and is the gateway's address there; `back` faces the `gateway` itself.
    pub fn lay(daemon: SocketAddr, front: SocketAddr, back: SocketAddr, gateway: SocketAddr) -> BadLine {
        let over = Arc::new(AtomicBool::new(false));
        let front = Arc::new(UdpSocket::bind(front).unwrap());
        let back = Arc::new(UdpSocket::bind(back).unwrap());
        carry(front.clone(), back.clone(), gateway, over.clone());
        carry(back, front, daemon, over.clone());
        BadLine { over }
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn carry(from: Arc<UdpSocket>, onto: Arc<UdpSocket>, to: SocketAddr, over: Arc<AtomicBool>) {
    from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    thread::spawn(move || {
        let (mut seen, mut octets) = (HashMap::new(), [0; 65536]);
        while !over.load(Ordering::Relaxed) {
            let Ok(length) = from.recv(&mut octets) else { continue };
            let Some((message, _)) = Message::first(&octets[..length]) else { continue };
            let count: &mut u32 = seen.entry(message.kind()).or_default();
            *count += 1;
            if *count > 1 {
                let _ = onto.send_to(&octets[..length], to);
                let _ = onto.send_to(&octets[..length], to);
            }
        }
    });
}
