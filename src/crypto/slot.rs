//! Unlock slots: the node's secret key, sealed for a passphrase or a certificate.
//!
//! A slot has the shape of a message in the place `unlock`; inside is what [`NodeKey::to_secret`] writes, so that
//! `gpg -d SLOT | gpg --import` unlocks without pkfs.

use sequoia_openpgp::crypto::{self, Password, S2K};
use sequoia_openpgp::packet::skesk::{SKESK4, SKESK6};
use sequoia_openpgp::packet::{PKESK, Packet, SKESK, Tag};
use sequoia_openpgp::serialize::Marshal;
use sequoia_openpgp::types::{AEADAlgorithm, HashAlgorithm, SymmetricAlgorithm};

use super::certificate::Certificate;
use super::memory::Locked;
use super::message::SessionKey;
use super::node_key::NodeKey;
use super::padding::Padding;
use super::seal::{Container, Sealing};
use super::unseal::{Attempt, Expected, key_packets};
use super::user_key::UserKey;
use crate::error::{Error, Kind, Result};

const AES: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
const PLACE: &str = "unlock";
/// More than any key needs; post-quantum ones have about 20 KiB.
const MAX_KEY: usize = 256 << 10;
/// More than any slot needs, many post-quantum recipients included.
const MAX_SLOT: usize = 1 << 20;
/// The most that iterated hashing can be told to do, about 0.1 s.
const HASHED_BYTES: u32 = 0x03e0_0000;
/// RFC 9106's second recommendation: 3 passes, 4 lanes, 64 MiB.
const ARGON2: (u8, u8, u8) = (3, 4, 16);
/// What a slot may cost to try, whoever wrote it: 16 passes, 16 lanes, 1 GiB, and 4 passes of that together.
const ARGON2_MAX: (u8, u8, u8) = (16, 16, 20);
const ARGON2_MAX_WORK: u64 = 4 << 20;

/// Seals the node's key for a passphrase.
///
/// # Errors
///
/// Invalid: an empty passphrase. The library failed.
pub fn seal_for_passphrase(node: &NodeKey, passphrase: &[u8]) -> Result<Vec<u8>> {
    if passphrase.is_empty() {
        return Err(Error::new(Kind::Invalid, "the passphrase is empty"));
    }
    let session_key = SessionKey::random()?;
    let key_packets = passphrase_packet(node.container(), &session_key, &Password::from(passphrase))
        .map_err(|e| Error::new(Kind::Failed, "cannot seal the key for a passphrase").because(e))?;
    let (container, key_packets) = (node.container(), &key_packets[..]);
    let sealing = Sealing { container, session_key: &session_key, key_packets, recipients: &[] };
    sealing.seal(PLACE, &node.to_secret()?, Padding::Value)
}

/// Seals the node's key for all valid encryption keys of a certificate.
///
/// # Errors
///
/// Invalid: the certificate has no valid encryption key. The library failed.
pub fn seal_for_certificate(node: &NodeKey, certificate: &Certificate) -> Result<Vec<u8>> {
    let (recipients, container) = certificate.recipients()?;
    let sealing = Sealing { container, session_key: &SessionKey::random()?, key_packets: &[], recipients: &recipients };
    sealing.seal(PLACE, &node.to_secret()?, Padding::Value)
}

/// The packet that carries the session key for whoever knows the passphrase.
fn passphrase_packet(
    container: Container,
    session_key: &SessionKey,
    password: &Password,
) -> sequoia_openpgp::Result<Vec<u8>> {
    let key = &session_key.to_library();
    let packet: SKESK = match container {
        Container::V1 => {
            let s2k = S2K::new_iterated(HashAlgorithm::SHA256, HASHED_BYTES)?;
            SKESK4::with_password(AES, AES, s2k, key, password)?.into()
        }
        Container::V2 => {
            let mut salt = [0; 16];
            crypto::random(&mut salt)?;
            let (t, p, m) = ARGON2;
            let s2k = S2K::Argon2 { salt, t, p, m };
            SKESK6::with_password(AES, AES, AEADAlgorithm::OCB, s2k, key, password)?.into()
        }
    };
    let mut bytes = Vec::new();
    Packet::from(packet).serialize(&mut bytes)?;
    Ok(bytes)
}

/// Opens a slot with a passphrase.
///
/// # Errors
///
/// Unlock: the passphrase is wrong, or the slot has none. Damaged: the slot was tampered with, or would cost more to
/// try than any that pkfs makes.
pub fn open_with_passphrase(slot: &[u8], passphrase: &[u8]) -> Result<NodeKey> {
    let password = Password::from(passphrase);
    let secret = open(slot, |_, packets, attempt| {
        let packet = match packets {
            [] => return Err(Error::new(Kind::Unlock, "the slot is not for a passphrase")),
            [one] => one,
            _ => return Err(Error::damaged("the slot has several passphrases")),
        };
        let key = derive(packet, &password)?.ok_or_else(wrong_passphrase)?;
        match packet {
            _ if attempt(&key) => Ok(()),
            // It has no digest of its own, so that some wrong passphrases give a key.
            SKESK::V4(_) => Err(wrong_passphrase()),
            _ => Err(damaged()),
        }
    })?;
    node_key(&secret)
}

/// Opens a slot with somebody's secret key.
///
/// # Errors
///
/// Unlock: the slot is not for this key, or the key is still protected. Damaged: the slot was tampered with.
pub fn open_with_key(slot: &[u8], key: &UserKey) -> Result<NodeKey> {
    if key.is_protected() {
        return Err(Error::new(Kind::Unlock, "the key is protected by a passphrase"));
    }
    let secret = open(slot, |packets, _, attempt| {
        let session_key = packets
            .iter()
            .find_map(|packet| key.open_session_key(packet))
            .ok_or_else(|| Error::new(Kind::Unlock, format!("the slot is not for the key {}", key.fingerprint())))?;
        if attempt(&session_key) { Ok(()) } else { Err(damaged()) }
    })?;
    node_key(&secret)
}

/// To which keys a slot is encrypted: their key ids (16 upper-case hex digits) or, from RFC 9580 on, fingerprints.
/// A slot for a passphrase has none.
///
/// # Errors
///
/// Damaged: not a slot.
pub fn recipients(slot: &[u8]) -> Result<Vec<String>> {
    let recipients = packets(slot)?.into_iter().filter_map(|packet| match packet {
        Packet::PKESK(packet) => Some(packet.recipient().map_or_else(|| "0".repeat(16), |r| format!("{r:X}"))),
        _ => None,
    });
    Ok(recipients.collect())
}

/// Whether a slot is for a passphrase.
///
/// # Errors
///
/// Damaged: not a slot.
pub fn is_for_passphrase(slot: &[u8]) -> Result<bool> {
    Ok(packets(slot)?.iter().any(|packet| packet.tag() == Tag::SKESK))
}

fn packets(slot: &[u8]) -> Result<Vec<Packet>> {
    bounded_size(slot)?;
    Ok(key_packets(slot)?.0)
}

/// Opens a slot with what `unlock` finds.
fn open(slot: &[u8], unlock: impl FnMut(&[PKESK], &[SKESK], &mut Attempt<'_>) -> Result<()>) -> Result<Locked> {
    bounded_size(slot)?;
    let expected = Expected { place: PLACE, limit: MAX_KEY, container: None };
    expected.open(slot, unlock).map_err(|e| if e.kind() == Kind::Unlock { e } else { damaged().because(e) })
}

fn bounded_size(slot: &[u8]) -> Result<()> {
    if slot.len() > MAX_SLOT {
        return Err(Error::damaged("the slot is larger than any slot can be"));
    }
    Ok(())
}

/// The session key that the passphrase opens; none if it is the wrong one.
fn derive(packet: &SKESK, password: &Password) -> Result<Option<crypto::SessionKey>> {
    let key = match packet {
        SKESK::V4(p) if bounded(p.s2k()) && matches!(p.esk(), Ok(Some(esk)) if esk.len() == 33) => {
            p.decrypt(password).ok().filter(|(algorithm, _)| *algorithm == AES).map(|(_, key)| key)
        }
        SKESK::V6(p) if bounded(p.s2k()) && p.symmetric_algo() == AES => p.decrypt(password).ok(),
        _ => return Err(Error::damaged("the slot protects its key in a way that pkfs does not accept")),
    };
    Ok(key.filter(|k| k.len() == 32))
}

/// Whether deriving a key in this way is bearable, and one that pkfs might write.
fn bounded(s2k: &S2K) -> bool {
    match s2k {
        S2K::Iterated { hash, hash_bytes, .. } => {
            *hash_bytes <= HASHED_BYTES
                && matches!(hash, HashAlgorithm::SHA256 | HashAlgorithm::SHA384 | HashAlgorithm::SHA512)
        }
        S2K::Argon2 { t, p, m, .. } => {
            let (max_t, max_p, max_m) = ARGON2_MAX;
            let within = (1..=max_t).contains(t) && (1..=max_p).contains(p) && (3..=max_m).contains(m);
            within && u64::from(*t) << *m <= ARGON2_MAX_WORK && u32::from(*p) * 8 <= 1 << *m
        }
        _ => false,
    }
}

/// The node's key from the inside of a slot.
pub(super) fn node_key(secret: &Locked) -> Result<NodeKey> {
    NodeKey::from_secret(secret).map_err(|e| Error::damaged("the slot does not hold the key of a keynode").because(e))
}

fn wrong_passphrase() -> Error {
    Error::new(Kind::Unlock, "wrong passphrase")
}

fn damaged() -> Error {
    Error::damaged("the slot is damaged")
}
