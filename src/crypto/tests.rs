//! The layer as a whole: round trips, hostile input, and gpg as the judge.
#![allow(clippy::unwrap_used)]

mod gnupg;
mod hostile;
mod shapes;
mod speed;

use std::path::Path;
use std::process::Command;

use super::*;
use crate::error::Kind;

const ID: &str = "0123456789abcdef0123456789abcdef";
const PROFILES: &[Profile] = &[
    Profile::Gnupg,
    Profile::Rfc9580,
    #[cfg(feature = "pqc")]
    Profile::Pqc,
];

/// Runs an ignored test of this layer in a process of its own.
pub(super) fn alone(test: &str, variables: &[(&str, &Path)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .envs(variables.iter().copied())
        .args(["--ignored", "--exact", &format!("crypto::{test}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[test]
fn messages_come_back() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        assert_eq!(node.profile(), *profile);
        for len in [0, 1, 64, 65_535, 65_536, (1 << 20) + 3, 10 << 20] {
            let data = pattern(len);
            for padding in [Padding::Value, Padding::Change] {
                let sealed = seal(&node, ID, &data, padding).unwrap();
                let opened = open(&node, &sealed.message, ID, None, len).unwrap();
                assert_eq!(opened.data.as_slice(), data);
                assert_eq!(opened.session_key, sealed.session_key);
                let opened = open(&node, &sealed.message, ID, Some(&sealed.session_key), len).unwrap();
                assert_eq!(opened.data.as_slice(), data);
            }
        }
    }
}

/// A large file with data at some places, and zeros else.
fn holed(len: usize) -> Locked {
    let mut data = Locked::default();
    assert!(data.try_resize(len));
    for at in [0, 65_530, len / 3, len - 7] {
        data[at..at + 7].copy_from_slice(b"content");
    }
    data
}

#[test]
fn what_is_mostly_holes_is_compressed_and_comes_back() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        let data = holed(300 << 20);
        let sealed = seal(&node, ID, &data, Padding::Value).unwrap();
        assert!(sealed.message.len() < 4 << 20, "{}", sealed.message.len());
        let opened = open(&node, &sealed.message, ID, None, data.len()).unwrap();
        assert!(opened.data[..] == data[..]);
        let short = open(&node, &sealed.message, ID, None, data.len() - 1).unwrap_err();
        assert_eq!(short.kind(), Kind::TooLarge);
        let smaller = holed(64 << 20);
        assert!(seal(&node, ID, &smaller, Padding::Value).unwrap().message.len() > 64 << 20, "its length would tell");
    }
}

#[test]
fn messages_of_one_epoch_share_their_beginning_and_nothing_else() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        let checkpoint = seal(&node, "directory", b"x", Padding::Value).unwrap();
        let epoch = Epoch::of(&checkpoint.message, &checkpoint.session_key).unwrap();
        let (a, b) = (
            epoch.seal("change", b"same", Padding::Change).unwrap(),
            epoch.seal("change", b"same", Padding::Change).unwrap(),
        );
        assert!(epoch.covers(&checkpoint.message) && epoch.covers(&a) && epoch.covers(&b));
        assert!(!epoch.covers(&seal(&node, "change", b"same", Padding::Change).unwrap().message));
        assert_eq!(a.len(), b.len());
        let differing = a.iter().zip(&b).skip(epoch.pkesk().len()).filter(|(a, b)| a != b).count();
        assert!(differing > 400, "{differing} bytes differ");
        assert_eq!(open(&node, &a, "change", None, 100).unwrap().data.as_slice(), b"same");
        assert_eq!(open(&node, &b, "change", Some(epoch.session_key()), 100).unwrap().data.as_slice(), b"same");
    }
}

#[test]
fn lengths_of_values_tell_little() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let lengths = |from: usize, to: usize| {
        let all = (from..to).map(|n| seal(&node, ID, &pattern(n), Padding::Value).unwrap().message.len());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(lengths(0, 180).len(), 1);
    assert!(lengths(180, 600).len() <= 24, "steps of 16 bytes up to 512, then of 32");
}

#[test]
fn a_key_survives_being_written_and_read() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        let secret = node.to_secret().unwrap();
        assert!(secret.starts_with(b"-----BEGIN PGP PRIVATE KEY BLOCK-----"));
        let again = NodeKey::from_secret(&secret).unwrap();
        assert_eq!((again.fingerprint(), again.profile()), (node.fingerprint(), node.profile()));
        let sealed = seal(&node, ID, b"value", Padding::Value).unwrap();
        assert_eq!(open(&again, &sealed.message, ID, None, 10).unwrap().data.as_slice(), b"value");

        let public = node.certificate().to_armored().unwrap();
        assert_eq!(NodeKey::from_secret(&public).unwrap_err().kind(), Kind::Unlock);
        let certificate = Certificate::parse(&public).unwrap();
        assert_eq!(certificate.user_id().as_deref(), Some("pkfs keynode"));
        assert!(certificate.can_encrypt());
        certificate.verify(b"data", node.sign(b"data").unwrap().as_bytes()).unwrap();
        assert_eq!(Certificate::parse(&secret).unwrap().to_armored().unwrap(), public, "no secret part is kept");
    }
}

#[test]
fn slots_open_for_their_passphrase_alone() {
    for profile in PROFILES {
        let node = NodeKey::generate(*profile).unwrap();
        let slot = slot::seal_for_passphrase(&node, "pässwörd".as_bytes()).unwrap();
        assert_eq!(slot::open_with_passphrase(&slot, "pässwörd".as_bytes()).unwrap().fingerprint(), node.fingerprint());
        assert_eq!(slot::recipients(&slot).unwrap(), [""; 0]);
        for wrong in [&b"password"[..], b"", b"p\xe4ssw\xf6rd"] {
            let error = slot::open_with_passphrase(&slot, wrong).unwrap_err();
            assert_eq!((error.kind(), error.message()), (Kind::Unlock, "wrong passphrase"));
        }
        let last = slot.len() - 1;
        let mut damaged = slot.clone();
        damaged[last] ^= 1;
        let error = slot::open_with_passphrase(&damaged, "pässwörd".as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert_eq!(slot::seal_for_passphrase(&node, b"").unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn slots_open_for_their_key_alone() {
    for (profile, user) in PROFILES.iter().flat_map(|p| PROFILES.iter().map(move |u| (*p, *u))) {
        let node = NodeKey::generate(profile).unwrap();
        let [owner, other] = [(); 2].map(|()| NodeKey::generate(user).unwrap());
        let slot = slot::seal_for_certificate(&node, owner.certificate()).unwrap();
        let [owner, other] = [owner, other].map(|k| UserKey::parse(&k.to_secret().unwrap()).unwrap());
        assert_eq!(slot::open_with_key(&slot, &owner).unwrap().fingerprint(), node.fingerprint());
        assert_eq!(slot::open_with_key(&slot, &other).unwrap_err().kind(), Kind::Unlock);
        assert_eq!(slot::open_with_passphrase(&slot, b"x").unwrap_err().kind(), Kind::Unlock);
        let recipients = slot::recipients(&slot).unwrap();
        assert!(matches!(&recipients[..], [one] if one.len() == if user == Profile::Gnupg { 16 } else { 64 }));
        assert_eq!(owner.as_node_key().unwrap().fingerprint(), owner.fingerprint());
    }
}

#[test]
fn many_threads_use_one_key() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let before = counts();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..20_u8 {
                    let sealed = seal(&node, ID, &[i], Padding::Value).unwrap();
                    assert_eq!(open(&node, &sealed.message, ID, None, 1).unwrap().data.as_slice(), [i]);
                    node.certificate().verify(&[i], node.sign(&[i]).unwrap().as_bytes()).unwrap();
                }
            });
        }
    });
    let done = counts() - before;
    assert!(done.sealed >= 80 && done.opened >= 80 && done.signed >= 80 && done.verified >= 80, "{done:?}");
}
