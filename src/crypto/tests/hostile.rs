//! Messages, signatures and slots that somebody tampered with.

use sequoia_openpgp::crypto::{S2K, SessionKey as LibraryKey};
use sequoia_openpgp::packet::pkesk::{PKESK3, PKESK6};
use sequoia_openpgp::packet::skesk::SKESK4;
use sequoia_openpgp::packet::{PKESK, Packet, SKESK};
use sequoia_openpgp::serialize::Marshal;
use sequoia_openpgp::types::{HashAlgorithm, SymmetricAlgorithm};

use super::*;
use crate::crypto::seal::{Container, Sealing};

/// A packet, as it is written.
fn bytes(packet: impl Into<Packet>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.into().serialize(&mut bytes).unwrap();
    bytes
}

#[test]
fn no_changed_or_cut_message_gives_anything() {
    for profile in [Profile::Gnupg, Profile::Rfc9580] {
        let node = NodeKey::generate(profile).unwrap();
        let Sealed { message, session_key } = seal(&node, ID, b"the value", Padding::Value).unwrap();
        let key_packets = Epoch::of(&message, &session_key).unwrap().pkesk().len();
        let mut without_effect = 0;
        for i in 0..message.len() {
            let cut = &message[..i];
            assert!(open(&node, cut, ID, None, 100).is_err() && open(&node, cut, ID, Some(&session_key), 100).is_err());
            for bit in 0..8 {
                let mut changed = message.clone();
                changed[i] ^= 1 << bit;
                // With a known session key the packets that carry it are not looked into.
                if i >= key_packets {
                    assert!(open(&node, &changed, ID, Some(&session_key), 100).is_err(), "byte {i} bit {bit}");
                }
                if i >= key_packets && bit > 0 {
                    continue;
                }
                if let Ok(opened) = open(&node, &changed, ID, None, 100) {
                    assert!(i < key_packets && opened.data.as_slice() == b"the value", "byte {i} bit {bit} by key");
                    without_effect += 1;
                }
            }
        }
        // X25519 ignores the highest bit of the ephemeral key (RFC 7748, 5).
        assert!(without_effect <= 1, "{without_effect} bits of the packet do not matter");
        for more in [&b"\0"[..], &message] {
            assert!(open(&node, &[&message, more].concat(), ID, None, 100).is_err());
        }
    }
}

#[test]
fn session_keys_of_a_wrong_length_are_refused() {
    for profile in [Profile::Gnupg, Profile::Rfc9580] {
        let node = NodeKey::generate(profile).unwrap();
        let Sealed { message, session_key } = seal(&node, ID, b"value", Padding::Value).unwrap();
        let sealed = &message[Epoch::of(&message, &session_key).unwrap().pkesk().len()..];
        let key = node.recipient();
        for len in [0, 1, 2, 3, 16, 31, 32, 33] {
            // The library refuses to wrap what is no multiple of 8 for one of the two kinds of key.
            let Ok(esk) = key.encrypt(&vec![9; len].into()) else { continue };
            let packet: PKESK = if profile == Profile::Gnupg {
                PKESK3::new(Some(key.keyid()), key.pk_algo(), esk).unwrap().into()
            } else {
                PKESK6::new(Some(key.fingerprint()), key.pk_algo(), esk).unwrap().into()
            };
            let forged = [&bytes(packet)[..], sealed].concat();
            assert!(open(&node, &forged, ID, None, 100).is_err(), "{len}");
        }
    }
}

#[test]
fn another_place_node_or_key_gives_nothing() {
    let [node, other] = [(); 2].map(|()| NodeKey::generate(Profile::Gnupg).unwrap());
    let sealed = seal(&node, ID, b"value", Padding::Value).unwrap();
    let error = open(&node, &sealed.message, "change", Some(&sealed.session_key), 100).unwrap_err();
    assert!(error.message().contains("another place"));
    assert_eq!(open(&other, &sealed.message, ID, None, 100).unwrap_err().kind(), Kind::Damaged);
    let wrong = SessionKey::from_slice(&[7; 32]).unwrap();
    assert_eq!(open(&node, &sealed.message, ID, Some(&wrong), 100).unwrap_err().kind(), Kind::Damaged);
    assert!(SessionKey::from_slice(&[7; 31]).is_none() && SessionKey::from_slice(&[7; 33]).is_none());
    assert!(!format!("{sealed:?}").contains("session_key: SessionKey(Locked"));
}

#[test]
fn a_message_of_another_profile_is_refused() {
    for (profile, container) in [(Profile::Gnupg, Container::V2), (Profile::Rfc9580, Container::V1)] {
        let node = NodeKey::generate(profile).unwrap();
        let session_key = SessionKey::random().unwrap();
        let recipients = std::slice::from_ref(node.recipient());
        let sealing = Sealing { container, session_key: &session_key, key_packets: &[], recipients };
        let message = sealing.seal(ID, b"x", Padding::Value).unwrap();
        for known in [None, Some(&session_key)] {
            let error = open(&node, &message, ID, known, 100).unwrap_err();
            assert!(error.message().contains("profile"), "{error}");
        }
    }
}

#[test]
fn what_is_larger_than_allowed_is_refused() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        let large = seal(&node, ID, &vec![0; 3 << 20], Padding::Value).unwrap();
        assert_eq!(open(&node, &large.message, ID, None, 1 << 20).unwrap_err().kind(), Kind::TooLarge);
    }
}

#[test]
fn signatures_by_others_or_over_other_bytes_are_refused() {
    for profile in PROFILES {
        let [node, other] = [(); 2].map(|()| NodeKey::generate(*profile).unwrap());
        let signature = node.sign(b"data").unwrap();
        assert!(!signature.ends_with('\n') && signature.ends_with("-----END PGP SIGNATURE-----"));
        let verify = |key: &NodeKey, data: &[u8], signature: &[u8]| key.certificate().verify(data, signature);
        verify(&node, b"data", signature.as_bytes()).unwrap();
        assert!(verify(&other, b"data", signature.as_bytes()).unwrap_err().message().contains("not by"));
        assert!(verify(&node, b"Data", signature.as_bytes()).unwrap_err().message().contains("does not fit"));
        for bad in [String::new(), "gpgsig".into(), format!("{signature}\n{signature}"), signature[..60].into()] {
            // A second armored block is not read, which is as git does; the first one must hold alone.
            if !bad.starts_with(&signature) {
                assert!(verify(&node, b"data", bad.as_bytes()).is_err(), "{bad}");
            }
        }
        let armored_certificate = node.certificate().to_armored().unwrap();
        assert!(verify(&node, b"data", &armored_certificate).is_err());
    }
}

#[test]
fn changed_slots_give_no_key() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let user = NodeKey::generate(Profile::Gnupg).unwrap();
    let slot = slot::seal_for_certificate(&node, user.certificate()).unwrap();
    let user = UserKey::parse(&user.to_secret().unwrap()).unwrap();
    for i in 0..slot.len() {
        let mut changed = slot.clone();
        changed[i] ^= 0x10;
        assert!(slot::open_with_key(&changed, &user).is_err(), "byte {i}");
        assert!(slot::open_with_key(&slot[..i], &user).is_err(), "cut at {i}");
        let _ = slot::recipients(&changed);
    }
}

#[test]
fn slots_that_would_cost_too_much_or_too_little_are_refused_at_once() {
    let node = NodeKey::generate(Profile::Rfc9580).unwrap();
    let slot = slot::seal_for_passphrase(&node, b"passphrase").unwrap();
    // Version 6 packet: header, version, count, cipher, mode, count of the S2K's octets, then 4, salt, t, p, m.
    let s2k = 2 + 5;
    assert_eq!((slot[2], slot[s2k], &slot[s2k + 17..s2k + 20]), (6, 4, &[3, 4, 16][..]));
    for (at, value) in [(17, 255), (17, 0), (18, 0), (18, 255), (19, 31), (19, 255), (19, 21)] {
        let mut changed = slot.clone();
        changed[s2k + at] = value;
        let error = slot::open_with_passphrase(&changed, b"passphrase").unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{at} {value}");
    }
    let aes = SymmetricAlgorithm::AES256;
    let container = &slot::seal_for_passphrase(&NodeKey::generate(Profile::Gnupg).unwrap(), b"p").unwrap()[52..];
    #[allow(deprecated)]
    for s2k in [S2K::Simple { hash: HashAlgorithm::SHA256 }, S2K::Salted { hash: HashAlgorithm::SHA256, salt: [0; 8] }]
    {
        let key = LibraryKey::new(32).unwrap();
        let packet: SKESK = SKESK4::with_password(aes, aes, s2k, &key, &"p".into()).unwrap().into();
        let slot = [&bytes(packet)[..], container].concat();
        assert_eq!(slot::open_with_passphrase(&slot, b"p").unwrap_err().kind(), Kind::Damaged);
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    let [a, b] = [(); 2].map(|()| NodeKey::generate(Profile::Gnupg).unwrap().to_secret().unwrap());
    let two = [a.as_slice(), b"\n", b.as_slice()].concat();
    let none: [&[u8]; 4] = [b"", b"hello", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", &[0xc5; 100]];
    for bytes in none.into_iter().chain([&two[..], &vec![0; 2 << 20]]) {
        assert_eq!(NodeKey::from_secret(bytes).unwrap_err().kind(), Kind::Invalid);
        assert!(Certificate::parse(bytes).is_err() && UserKey::parse(bytes).is_err());
    }
}
