//! Messages of another shape, which whoever has the public key can make.

use std::io::Write;

use sequoia_openpgp::packet::{CompressedData, Literal, Marker, Packet, Padding as PaddingPacket};
use sequoia_openpgp::serialize::Marshal;
use sequoia_openpgp::types::{CompressionAlgorithm, DataFormat};

use super::*;
use crate::crypto::seal::{Container, Sealing};

const PLACE: &str = "here";

fn bytes(packet: impl Into<Packet>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.into().serialize(&mut bytes).unwrap();
    bytes
}

fn literal(name: &str, data: &[u8]) -> Vec<u8> {
    let mut literal = Literal::new(DataFormat::Binary);
    literal.set_filename(name).unwrap();
    literal.set_body(data.to_vec());
    bytes(literal)
}

/// These packets compressed; the algorithm 0 compresses nothing.
fn compressed(algorithm: u8, packets: &[u8]) -> Vec<u8> {
    let mut packet = CompressedData::new(CompressionAlgorithm::from(algorithm));
    packet.set_body(sequoia_openpgp::packet::Body::Processed(packets.to_vec()));
    bytes(packet)
}

fn zipped(packets: &[u8]) -> Vec<u8> {
    compressed(1, packets)
}

/// A message with these packets inside.
fn sealed(node: &NodeKey, packets: &[u8]) -> Sealed {
    let session_key = SessionKey::random().unwrap();
    let recipients = std::slice::from_ref(node.recipient());
    let sealing = Sealing { container: node.container(), session_key: &session_key, key_packets: &[], recipients };
    let message = sealing.write(|mut message| {
        message.write_all(packets)?;
        message.finalize()
    });
    Sealed { message: message.unwrap(), session_key }
}

fn opened(node: &NodeKey, packets: &[u8]) -> Result<Locked, Kind> {
    let Sealed { message, session_key } = sealed(node, packets);
    let by_key = open(node, &message, PLACE, None, 100).map(|o| o.data).map_err(|e| e.kind());
    let known = open(node, &message, PLACE, Some(&session_key), 100).map(|o| o.data).map_err(|e| e.kind());
    assert_eq!(by_key, known);
    known
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let bomb = sealed(&node, &zipped(&literal(PLACE, &vec![0; 20 << 20])));
    assert!(bomb.message.len() < 250_000);
    let error = open(&node, &bomb.message, PLACE, Some(&bomb.session_key), 1 << 20).unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert!(open(&node, &bomb.message, PLACE, None, 20 << 20).is_ok());
}

#[test]
fn only_one_compressed_literal_is_taken() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    assert_eq!(node.container(), Container::V1);
    let (literal, padding) = (literal(PLACE, b"data"), bytes(PaddingPacket::new(4).unwrap()));
    assert_eq!(opened(&node, &zipped(&literal)).unwrap().as_slice(), b"data");
    let bad = [
        Vec::new(),
        literal.clone(),
        padding.clone(),
        zipped(&[]),
        zipped(&[&literal[..], &literal].concat()),
        zipped(&[&literal[..], &padding].concat()),
        zipped(&[&literal[..], b"x"].concat()),
        zipped(&[&bytes(Marker::default())[..], &literal].concat()),
        zipped(&zipped(&literal)),
        zipped(&literal[..literal.len() - 1]),
        compressed(0, &literal),
        compressed(2, &literal),
        [zipped(&literal), zipped(&literal)].concat(),
        [zipped(&literal), literal.clone()].concat(),
        [zipped(&literal), padding.clone()].concat(),
        [padding, zipped(&literal)].concat(),
        // The body of a compressed packet that breaks off.
        [&[0xc8, 4, 1, 0, 5, 0][..]].concat(),
        [&[0xc8, 7, 1, 0, 5, 0, 0xfa, 0xff, 1][..]].concat(),
    ];
    for packets in &bad {
        assert_eq!(opened(&node, packets), Err(Kind::Damaged), "{packets:x?}");
    }
    let large = zipped(&self::literal(PLACE, &[0; 101]));
    assert_eq!(opened(&node, &large), Err(Kind::TooLarge));
}

#[test]
fn only_one_literal_and_padding_are_taken() {
    let node = NodeKey::generate(Profile::Rfc9580).unwrap();
    let (literal, padding) = (literal(PLACE, b"data"), bytes(PaddingPacket::new(4).unwrap()));
    let long = bytes(PaddingPacket::new(3 << 20).unwrap());
    let packed = [&zipped(&literal)[..], &padding].concat();
    for packets in [literal.clone(), [&literal[..], &padding].concat(), [&literal[..], &long].concat(), packed] {
        assert_eq!(opened(&node, &packets).unwrap().as_slice(), b"data");
    }
    for packets in [
        Vec::new(),
        padding.clone(),
        [&padding[..], &literal].concat(),
        [&literal[..], &padding, &padding].concat(),
        [&literal[..], &literal].concat(),
        [&literal[..], b"x"].concat(),
        [&zipped(&literal)[..], &zipped(&literal)].concat(),
        zipped(&[&literal[..], &padding].concat()),
        zipped(&zipped(&literal)),
    ] {
        assert_eq!(opened(&node, &packets), Err(Kind::Damaged), "{packets:x?}");
    }
}

#[test]
fn what_ends_before_its_container_does_is_refused() {
    // The literal is whole, and the container's digest or last tag is missing.
    for profile in [Profile::Gnupg, Profile::Rfc9580] {
        let node = NodeKey::generate(profile).unwrap();
        let Sealed { message, session_key } = seal(&node, PLACE, &pattern(300_000), Padding::Value).unwrap();
        for cut in [1, 16, 22, 40, 5000, 100_000] {
            let error = open(&node, &message[..message.len() - cut], PLACE, Some(&session_key), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{cut}");
        }
        for at in [200, 100_000, 200_000, message.len() - 1] {
            let mut changed = message.clone();
            changed[at] ^= 1;
            let error = open(&node, &changed, PLACE, Some(&session_key), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{at}");
        }
    }
}

#[test]
fn armor_and_messages_to_nobody_are_refused() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let Sealed { message, session_key } = seal(&node, PLACE, b"data", Padding::Value).unwrap();
    let epoch = Epoch::of(&message, &session_key).unwrap();
    let mut armor = sequoia_openpgp::armor::Writer::new(Vec::new(), sequoia_openpgp::armor::Kind::Message).unwrap();
    armor.write_all(&message).unwrap();
    let armored = armor.finalize().unwrap();
    for bad in [&armored[..], &message[epoch.pkesk().len()..], epoch.pkesk(), &literal(PLACE, b"data"), b"\xff", b""] {
        assert_eq!(open(&node, bad, PLACE, Some(&session_key), 100).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(Epoch::of(bad, &session_key).unwrap_err().kind(), Kind::Damaged);
        assert!(slot::recipients(bad).is_err());
    }
    // A packet more carries the same key, but the shape is still one of pkfs.
    let two = [epoch.pkesk(), &message].concat();
    assert_eq!(open(&node, &two, PLACE, None, 100).unwrap().data.as_slice(), b"data");
    let slot = slot::seal_for_passphrase(&node, b"passphrase").unwrap();
    let error = open(&node, &slot, "unlock", Some(&session_key), 1 << 16).unwrap_err();
    assert!(error.message().contains("passphrase"));
    assert!(Epoch::of(&slot, &session_key).is_err());
}
