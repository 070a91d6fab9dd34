use super::*;

/// RFC 5769 section 2.1. The password of 2.1 to 2.3 is the same.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae8022001053 54554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a683676592020200008001\
    49aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// Section 2.2.
const ANSWER_4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// Section 2.3.
const ANSWER_6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn check(buffer: &mut [u8], key: &Key) -> Option<usize> {
    Writer::new(buffer, Class::Request, &TRANSACTION)
        .username("ours:theirs")
        .priority(0x6e00_01ff)
        .role(Role::Controlling(7))
        .nominating()
        .integrity(key)
        .finish()
}

#[test]
fn the_request_of_the_standard() {
    let octets = octets(REQUEST);
    let request = Message::read(&octets).unwrap();
    assert_eq!((request.class(), request.transaction()), (Class::Request, TRANSACTION));
    assert_eq!(request.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!((request.priority(), request.nominates()), (Some(0x6e00_01ff), false));
    assert_eq!(request.role(), Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
    assert_eq!(request.integrity(&Key::new(PASSWORD)), Integrity::Right);
    assert_eq!(request.integrity(&Key::new("another")), Integrity::Wrong);
    assert_eq!(request.unknown().count(), 0, "SOFTWARE may be passed over");
}

#[test]
fn the_answers_of_the_standard() {
    for (hex, mapped) in [(ANSWER_4, "192.0.2.1:32853"), (ANSWER_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")] {
        let octets = octets(hex);
        let answer = Message::read(&octets).unwrap();
        assert_eq!((answer.class(), answer.mapped()), (Class::Success, mapped.parse().ok()));
        assert_eq!(answer.integrity(&Key::new(PASSWORD)), Integrity::Right);
    }
}

#[test]
fn what_is_written_is_read() {
    let (key, mut buffer) = (Key::new(PASSWORD), [0; 200]);
    let length = check(&mut buffer, &key).unwrap();
    let request = Message::read(&buffer[..length]).unwrap();
    assert_eq!((request.username(), request.priority()), (Some(&b"ours:theirs"[..]), Some(0x6e00_01ff)));
    assert_eq!((request.role(), request.nominates()), (Some(Role::Controlling(7)), true));
    assert_eq!(request.integrity(&key), Integrity::Right);

    let mapped: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
    let error = Writer::new(&mut buffer, Class::Error, &TRANSACTION).error(420).unknown(&[0x7f, 0x33]).mapped(mapped);
    let length = error.finish().unwrap();
    let error = Message::read(&buffer[..length]).unwrap();
    assert_eq!((error.class(), error.error(), error.mapped()), (Class::Error, Some(420), Some(mapped)));
    assert_eq!(error.integrity(&key), Integrity::Absent);
}

#[test]
fn a_small_buffer_is_no_message() {
    let (key, mut buffer) = (Key::new(PASSWORD), [0; 200]);
    let length = check(&mut buffer, &key).unwrap();
    (0..length).for_each(|short| assert_eq!(check(&mut buffer[..short], &key), None, "{short}"));
    assert_eq!(check(&mut buffer[..length], &key), Some(length));
}

#[test]
fn every_changed_bit_is_noticed() {
    let (key, mut buffer) = (Key::new(PASSWORD), [0; 200]);
    let length = check(&mut buffer, &key).unwrap();
    for bit in 0..8 * (length - 8) {
        buffer[bit / 8] ^= 1 << (bit % 8);
        let integrity = Message::read(&buffer[..length]).map(|message| message.integrity(&key));
        // A length that swallows all that follows leaves nothing to prove anything by.
        assert_ne!(integrity, Some(Integrity::Right), "bit {bit}");
        buffer[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn what_follows_the_integrity_is_nobodys_word() {
    let (key, mut buffer) = (Key::new(PASSWORD), [0; 200]);
    let message = Writer::new(&mut buffer, Class::Request, &TRANSACTION).username("a:b").integrity(&key);
    let length = message.nominating().attribute(0x7777, &[]).finish().unwrap();
    let request = Message::read(&buffer[..length]).unwrap();
    assert_eq!(request.integrity(&key), Integrity::Right);
    assert_eq!((request.nominates(), request.unknown().count()), (false, 0));
}

#[test]
fn what_must_be_known_and_is_not_is_named() {
    let mut buffer = [0; 200];
    let message = Writer::new(&mut buffer, Class::Request, &TRANSACTION);
    let length = message.attribute(0x7777, &[b"x"]).attribute(0x9999, &[]).finish().unwrap();
    let request = Message::read(&buffer[..length]).unwrap();
    assert_eq!(request.unknown().collect::<Vec<_>>(), [0x7777]);
}

#[test]
fn stun_is_told_from_rtp_and_dtls_by_its_first_octets() {
    assert!(is_stun(&octets(REQUEST)));
    for other in [&[0x80, 0, 0, 7][..], &[22, 0xfe, 0xfd, 0], &[], &[0, 1, 0, 0, 1, 2, 3, 4]] {
        assert!(!is_stun(other) && Message::read(other).is_none());
    }
}

#[test]
fn no_octets_make_it_panic() {
    let key = Key::new(PASSWORD);
    bolero::check!().for_each(|tail: &[u8]| {
        let header = [&[0, 1], &(tail.len() as u16).to_be_bytes()[..], &COOKIE.to_be_bytes(), &TRANSACTION].concat();
        for octets in [tail, &[&header[..], tail].concat()] {
            if let Some(message) = Message::read(octets) {
                let _ = (message.username(), message.priority(), message.role(), message.mapped(), message.error());
                let _ = (message.unknown().count(), message.nominates());
                assert_ne!(message.integrity(&key), Integrity::Right);
            }
        }
    });
}
