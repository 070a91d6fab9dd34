//! SNMP traps, v1 (RFC 1157) and v2c (RFC 3416), as far as they tell of lines.
//!
//! | trap | says |
//! |---|---|
//! | linkDown, linkUp (RFC 2863) | the line is down, or not: by ifOperStatus where the trap carries it |
//! | dsx1LineStatusChange (RFC 4805) | by the bits of dsx1LineStatus: 2 RAI, 8 AIS, 32 LOF, 64 LOS |
//!
//! A line is named by its ifIndex: the one thing that both carry.

use snmp_parser::asn1_rs::{FromBer, Oid};
use snmp_parser::{ObjectSyntax, PduType, SnmpMessage, SnmpPdu, SnmpTrapPdu, SnmpVariable, VarBindValue};

use super::{LineAlarm, Subject, Word};

const SNMP_TRAPS: &[u64] = &[1, 3, 6, 1, 6, 3, 1, 1, 5];
const SNMP_TRAP_OID: &[u64] = &[1, 3, 6, 1, 6, 3, 1, 1, 4, 1];
const LINK_DOWN: &[u64] = &[1, 3, 6, 1, 6, 3, 1, 1, 5, 3];
const LINK_UP: &[u64] = &[1, 3, 6, 1, 6, 3, 1, 1, 5, 4];
const LINE_STATUS_CHANGE: &[u64] = &[1, 3, 6, 1, 2, 1, 10, 18, 15, 0, 1];
const IF_INDEX: &[u64] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 1];
const IF_OPER_STATUS: &[u64] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 8];
const LINE_STATUS: &[u64] = &[1, 3, 6, 1, 2, 1, 10, 18, 6, 1, 10];
/// ifOperStatus.
const UP: i64 = 1;
const ENTERPRISE_SPECIFIC: u8 = 6;

/// Why a packet tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// It cannot be read.
    #[error("it is no SNMP message of version 1 or 2c")]
    Malformed,
    /// It asks for something, or wants an answer.
    #[error("it is no trap")]
    NoTrap,
    /// The community is not the one agreed.
    #[error("its community is another one")]
    Community,
    /// Not about lines.
    #[error("it is not about a line")]
    Other,
}

impl Unheard {
    /// The `result` label.
    pub fn label(self) -> &'static str {
        match self {
            Unheard::Malformed => "malformed",
            Unheard::NoTrap => "no-trap",
            Unheard::Community => "community",
            Unheard::Other => "other",
        }
    }
}

/// What a trap says; `community` is the one that it must carry.
pub fn read(packet: &[u8], community: Option<&str>) -> Result<Vec<Word>, Unheard> {
    let (_, message) = SnmpMessage::from_ber(packet).map_err(|_| Unheard::Malformed)?;
    if community.is_some_and(|wanted| wanted != message.community) {
        return Err(Unheard::Community);
    }
    let (trap, variables) = match &message.pdu {
        SnmpPdu::TrapV1(trap) => (identity(trap).ok_or(Unheard::Malformed)?, &trap.var),
        SnmpPdu::Generic(pdu) if pdu.pdu_type == PduType::TrapV2 => {
            (named(&pdu.var).ok_or(Unheard::Malformed)?, &pdu.var)
        }
        SnmpPdu::Generic(_) | SnmpPdu::Bulk(_) => return Err(Unheard::NoTrap),
    };
    let words = match trap.as_slice() {
        LINK_DOWN => link(variables, true),
        LINK_UP => link(variables, false),
        LINE_STATUS_CHANGE => line_status(variables),
        _ => return Err(Unheard::Other),
    };
    words.ok_or(Unheard::Other)
}

/// A v1 trap's identity as v2 has it (RFC 3584 section 3.1).
fn identity(trap: &SnmpTrapPdu<'_>) -> Option<Vec<u64>> {
    let (mut identity, last) = match trap.generic_trap.0 {
        ENTERPRISE_SPECIFIC => (arcs(&trap.enterprise)?, [0, u64::from(trap.specific_trap)]),
        generic => (Vec::from(SNMP_TRAPS), [u64::from(generic) + 1, 0]),
    };
    let kept = if trap.generic_trap.0 == ENTERPRISE_SPECIFIC { &last[..] } else { &last[..1] };
    identity.extend_from_slice(kept);
    Some(identity)
}

/// The value of snmpTrapOID.0.
fn named(variables: &[SnmpVariable<'_>]) -> Option<Vec<u64>> {
    variables.iter().find_map(|variable| match &variable.val {
        VarBindValue::Value(ObjectSyntax::Object(identity)) if index(&variable.oid, SNMP_TRAP_OID) == Some(0) => {
            arcs(identity)
        }
        _ => None,
    })
}

fn link(variables: &[SnmpVariable<'_>], down: bool) -> Option<Vec<Word>> {
    let (line, _) = number(variables, IF_INDEX).or_else(|| number(variables, IF_OPER_STATUS))?;
    let down = number(variables, IF_OPER_STATUS).map_or(down, |(_, status)| status != UP);
    Some(vec![word(line, LineAlarm::Down, down)])
}

fn line_status(variables: &[SnmpVariable<'_>]) -> Option<Vec<Word>> {
    let (line, status) = number(variables, LINE_STATUS)?;
    let bits = [(LineAlarm::Los, 64), (LineAlarm::Lof, 32), (LineAlarm::Ais, 8), (LineAlarm::Rai, 2)];
    Some(bits.into_iter().map(|(alarm, bit)| word(line, alarm, status & bit != 0)).collect())
}

fn word(line: u64, alarm: LineAlarm, stands: bool) -> Word {
    Word::Alarm(Subject::Line(format!("ifIndex {line}").into(), alarm), stands)
}

/// The row and the number of the first variable of a column.
fn number(variables: &[SnmpVariable<'_>], column: &[u64]) -> Option<(u64, i64)> {
    variables.iter().find_map(|variable| {
        let value = match variable.val {
            VarBindValue::Value(ObjectSyntax::Number(value)) => value.into(),
            VarBindValue::Value(ObjectSyntax::Gauge32(value) | ObjectSyntax::UInteger32(value)) => value.into(),
            _ => return None,
        };
        Some((index(&variable.oid, column)?, value))
    })
}

/// The one arc behind a column's own.
fn index(variable: &Oid<'_>, column: &[u64]) -> Option<u64> {
    match arcs(variable)?.strip_prefix(column)? {
        [index] => Some(*index),
        _ => None,
    }
}

fn arcs(name: &Oid<'_>) -> Option<Vec<u64>> {
    name.iter().map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value with its tag and length.
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, content].concat()
    }

    fn oid(arcs: &[u64]) -> Vec<u8> {
        let mut content = vec![43];
        for arc in &arcs[2..] {
            assert!(*arc < 16_384);
            content.extend((*arc >= 128).then_some(0x80 | (arc >> 7) as u8));
            content.push((arc & 127) as u8);
        }
        tlv(6, &[&content])
    }

    fn bind(column: &[u64], row: u64, value: &[u8]) -> Vec<u8> {
        tlv(0x30, &[&oid(&[column, &[row]].concat()), value])
    }

    fn v2(identity: &[u64], binds: &[Vec<u8>]) -> Vec<u8> {
        let all = [&[bind(SNMP_TRAP_OID, 0, &oid(identity))], binds].concat().concat();
        let pdu = tlv(0xa7, &[&[2, 1, 7], &[2, 1, 0], &[2, 1, 0], &tlv(0x30, &[&all])]);
        tlv(0x30, &[&[2, 1, 1], &tlv(4, &[b"public"]), &pdu])
    }

    fn v1(enterprise: &[u64], generic: u8, specific: u8, binds: &[Vec<u8>]) -> Vec<u8> {
        let address = tlv(0x40, &[&[192, 0, 2, 20]]);
        let rest = [&[2, 1, generic][..], &[2, 1, specific], &[0x43, 1, 9]].concat();
        let pdu = tlv(0xa4, &[&oid(enterprise), &address, &rest, &tlv(0x30, &[&binds.concat()])]);
        tlv(0x30, &[&[2, 1, 0], &tlv(4, &[b"public"]), &pdu])
    }

    /// The alarms that a trap raises, and how many it speaks of.
    fn said(packet: &[u8]) -> Result<(String, usize), Unheard> {
        let words = read(packet, Some("public"))?;
        let raised = words.iter().filter_map(|word| match word {
            Word::Alarm(subject, true) => Some(subject.to_string()),
            _ => None,
        });
        Ok((raised.collect::<Vec<_>>().join(", "), words.len()))
    }

    fn raised(text: &str, of: usize) -> Result<(String, usize), Unheard> {
        Ok((text.to_owned(), of))
    }

    #[test]
    fn links_go_down_and_up() {
        let index = bind(IF_INDEX, 5, &[2, 1, 5]);
        let status = |value| bind(IF_OPER_STATUS, 5, &[2, 1, value]);
        assert_eq!(said(&v2(LINK_DOWN, &[index.clone(), status(2)])), raised("line ifIndex 5 down", 1));
        assert_eq!(said(&v2(LINK_UP, &[index.clone(), status(1)])), raised("", 1));
        assert_eq!(said(&v2(LINK_UP, &[index.clone(), status(7)])), raised("line ifIndex 5 down", 1), "lowerLayerDown");
        assert_eq!(said(&v2(LINK_DOWN, &[status(2)])), raised("line ifIndex 5 down", 1));
        let of = &[1, 3, 6, 1, 4, 1, 177];
        assert_eq!(said(&v1(of, 2, 0, std::slice::from_ref(&index))), raised("line ifIndex 5 down", 1));
        assert_eq!(said(&v1(of, 3, 0, &[index])), raised("", 1));
    }

    #[test]
    fn the_bits_of_a_line_s_status_are_its_alarms() {
        let status = |bits: u8| bind(LINE_STATUS, 1001, &[2, 1, bits]);
        let change = |bits| said(&v2(LINE_STATUS_CHANGE, &[status(bits)]));
        assert_eq!(change(1), raised("", 4));
        assert_eq!(change(64), raised("line ifIndex 1001 LOS", 4));
        assert_eq!(change(32 + 4), raised("line ifIndex 1001 LOF", 4), "we send RAI: that is the far end's alarm");
        assert_eq!(change(2 + 8), raised("line ifIndex 1001 AIS, line ifIndex 1001 RAI", 4));
        let old = v1(&[1, 3, 6, 1, 2, 1, 10, 18, 15], 6, 1, &[status(64)]);
        assert_eq!(said(&old), raised("line ifIndex 1001 LOS", 4));
    }

    #[test]
    fn what_tells_nothing_is_told_apart() {
        let index = bind(IF_INDEX, 5, &[2, 1, 5]);
        let good = v2(LINK_DOWN, std::slice::from_ref(&index));
        assert_eq!(read(&good, Some("other")), Err(Unheard::Community));
        assert!(read(&good, None).is_ok());
        assert_eq!(said(&v2(&[1, 3, 6, 1, 6, 3, 1, 1, 5, 1], &[])), Err(Unheard::Other), "coldStart");
        assert_eq!(said(&v2(LINK_DOWN, &[])), Err(Unheard::Other), "no line is named");
        assert_eq!(said(&v2(LINE_STATUS_CHANGE, &[index])), Err(Unheard::Other));
        let mut inform = good.clone();
        let at = inform.iter().position(|byte| *byte == 0xa7).unwrap();
        inform[at] = 0xa6;
        assert_eq!(said(&inform), Err(Unheard::NoTrap));
        for packet in [&b""[..], b"INVITE sip:", &good[..good.len() - 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(said(packet), Err(Unheard::Malformed), "{packet:?}");
        }
    }

    #[test]
    fn no_packet_panics() {
        let seeds = [v2(LINE_STATUS_CHANGE, &[bind(LINE_STATUS, 1, &[2, 1, 64])]), v1(LINK_DOWN, 6, 1, &[])];
        bolero::check!().with_type::<(bool, Vec<(u8, u8)>, Vec<u8>)>().for_each(|(first, changes, tail)| {
            let mut packet = seeds[usize::from(*first)].clone();
            for (at, octet) in changes {
                let at = usize::from(*at) % packet.len();
                packet[at] = *octet;
            }
            let _ = read(&packet, None);
            let _ = read(tail, None);
        });
    }
}
