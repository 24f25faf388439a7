//! The node's own key.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::cert::{Cert, CertBuilder, CipherSuite};
use sequoia_openpgp::crypto::mpi::Ciphertext;
use sequoia_openpgp::crypto::{self, Decryptor, KeyPair};
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::Serialize;
use sequoia_openpgp::types::{Features, KeyFlags, SignatureType, SymmetricAlgorithm};
use sequoia_openpgp::{Packet, armor};

use super::certificate::{Certificate, PublicKey, parse_one};
use super::counters::{OPENED, SIGNED};
use super::fingerprint::Fingerprint;
use super::memory::Locked;
use super::policy::{POLICY, present};
use super::profile::Profile;
use super::seal::Container;
use crate::error::{Error, Kind, Result};

/// The user id of every node's key.
pub(super) const USER_ID: &str = "pkfs keynode";

/// A node's key, unlocked: opens and seals its messages, signs its commits.
///
/// It may be used from many threads at once; nothing waits for another. A clone is the same key.
#[derive(Clone)]
pub struct NodeKey(Arc<Parts>);

struct Parts {
    /// With the secret parts, which the library keeps encrypted in memory.
    key: Cert,
    certificate: Certificate,
    profile: Profile,
    signer: KeyPair,
    decryptor: KeyPair,
}

impl NodeKey {
    /// Makes a new key, which does not expire: its primary key certifies and signs, a subkey is encrypted to.
    ///
    /// # Errors
    ///
    /// The library failed.
    pub fn generate(profile: Profile) -> Result<Self> {
        build(profile)
            .map_err(|e| Error::new(Kind::Failed, format!("cannot make a key of profile {profile}")).because(e))
            .and_then(Self::of)
    }

    /// Reads an unprotected secret key, armored or binary, as [`NodeKey::to_secret`] writes it.
    ///
    /// # Errors
    ///
    /// Invalid: no key, or several. Unlock: only a public certificate, protected by a passphrase, or not a node's key.
    pub fn from_secret(bytes: &[u8]) -> Result<Self> {
        Self::of(parse_one(bytes)?)
    }

    pub(super) fn of(key: Cert) -> Result<Self> {
        if !key.is_tsk() {
            return Err(Error::new(Kind::Unlock, "this is a public certificate, the secret key is needed"));
        }
        if key.keys().secret().any(|k| !k.key().has_unencrypted_secret()) {
            return Err(Error::new(Kind::Unlock, "the key is protected by a passphrase"));
        }
        let unfit = || Error::new(Kind::Unlock, format!("{} is not the key of a keynode", key.fingerprint()));
        let valid = || key.keys().with_policy(&*POLICY, present(&key)).alive().revoked(false).secret();
        let signer = valid().for_signing().next().ok_or_else(unfit)?.key().clone();
        let decryptor = valid().for_storage_encryption().next().ok_or_else(unfit)?.key().clone();
        let profile = profile_of(&key).ok_or_else(unfit)?;
        Ok(Self(Arc::new(Parts {
            certificate: Certificate::of(&key),
            profile,
            signer: signer.into_keypair().map_err(|e| unfit().because(e))?,
            decryptor: decryptor.into_keypair().map_err(|e| unfit().because(e))?,
            key,
        })))
    }

    /// The whole secret key, armored and without passphrase.
    ///
    /// # Errors
    ///
    /// The library failed.
    pub fn to_secret(&self) -> Result<Locked> {
        let mut out = Locked::default();
        self.0
            .key
            .as_tsk()
            .armored()
            .serialize(&mut out)
            .map_err(|e| Error::new(Kind::Failed, "cannot write the key").because(e))?;
        Ok(out)
    }

    /// Its public half.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.certificate.fingerprint()
    }

    /// The profile that follows from the kind of key.
    pub fn profile(&self) -> Profile {
        self.0.profile
    }

    /// Signs these bytes: a detached signature in armor, as git's `gpgsig` header holds it: lines with `\n` between
    /// them and none after the last.
    ///
    /// # Errors
    ///
    /// The library failed.
    pub fn sign(&self, data: &[u8]) -> Result<String> {
        SIGNED.count();
        self.signature(data).map_err(|e| Error::new(Kind::Failed, "cannot sign").because(e))
    }

    fn signature(&self, data: &[u8]) -> sequoia_openpgp::Result<String> {
        // A clock that is behind must not make a signature older than its key, which nobody would accept.
        let time = SystemTime::now().max(self.0.signer.public().creation_time());
        let signature = SignatureBuilder::new(SignatureType::Binary)
            .set_signature_creation_time(time)?
            .sign_message(&mut self.0.signer.clone(), data)?;
        let mut out = armor::Writer::new(Vec::new(), armor::Kind::Signature)?;
        Packet::from(signature).serialize(&mut out)?;
        let text = String::from_utf8(out.finalize()?)?;
        Ok(text.trim_end().to_owned())
    }

    /// Which container the profile uses.
    pub(super) fn container(&self) -> Container {
        match self.0.profile {
            Profile::Gnupg => Container::V1,
            Profile::Rfc9580 => Container::V2,
            #[cfg(feature = "pqc")]
            Profile::Pqc => Container::V2,
        }
    }

    /// The key that messages are encrypted to.
    pub(super) fn recipient(&self) -> &PublicKey {
        self.0.decryptor.public()
    }

    /// Whether this packet names the node's encryption key.
    pub(super) fn is_recipient(&self, packet: &PKESK) -> bool {
        packet.recipient().is_some_and(|r| r.aliases(self.recipient().key_handle()))
    }

    pub(super) fn open_session_key(&self, packet: &PKESK) -> Option<crypto::SessionKey> {
        open_session_key(&self.0.decryptor, packet)
    }
}

/// Decrypts the session key of an AES-256 message.
pub(super) fn open_session_key(pair: &KeyPair, packet: &PKESK) -> Option<crypto::SessionKey> {
    OPENED.count();
    let aes = SymmetricAlgorithm::AES256;
    let (algorithm, key) = packet.decrypt(&mut Guarded(pair.clone()), Some(aes))?;
    (algorithm.is_none_or(|a| a == aes) && key.len() == 32).then_some(key)
}

/// Passes on only what is long enough for a session key: the library indexes into it without looking, and whoever
/// knows the public key can encrypt nothing at all to it.
struct Guarded(KeyPair);

impl Decryptor for Guarded {
    fn public(&self) -> &PublicKey {
        self.0.public()
    }

    fn decrypt(
        &mut self,
        ciphertext: &Ciphertext,
        plaintext_len: Option<usize>,
    ) -> sequoia_openpgp::Result<crypto::SessionKey> {
        let plain = self.0.decrypt(ciphertext, plaintext_len)?;
        if plain.len() < 32 {
            return Err(sequoia_openpgp::Error::MalformedPacket("a session key is too short".into()).into());
        }
        Ok(plain)
    }
}

fn build(profile: Profile) -> sequoia_openpgp::Result<Cert> {
    let builder = CertBuilder::new();
    let builder = match profile {
        Profile::Gnupg => builder
            .set_profile(sequoia_openpgp::Profile::RFC4880)?
            .set_features(Features::empty().set_seipdv1())?
            .set_cipher_suite(CipherSuite::Cv25519),
        Profile::Rfc9580 => {
            builder.set_profile(sequoia_openpgp::Profile::RFC9580)?.set_cipher_suite(CipherSuite::Cv25519)
        }
        #[cfg(feature = "pqc")]
        Profile::Pqc => {
            builder.set_profile(sequoia_openpgp::Profile::RFC9580)?.set_cipher_suite(CipherSuite::MLDSA65_Ed25519)
        }
    };
    let encrypts = KeyFlags::empty().set_storage_encryption().set_transport_encryption();
    let (key, _revocation) = builder
        .add_userid(USER_ID)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .add_subkey(encrypts, None, None)
        .generate()?;
    Ok(key)
}

/// The profile of a key of this kind.
fn profile_of(key: &Cert) -> Option<Profile> {
    let primary = key.primary_key().key();
    match primary.version() {
        4 => Some(Profile::Gnupg),
        #[cfg(feature = "pqc")]
        6 if primary.pk_algo() == sequoia_openpgp::types::PublicKeyAlgorithm::MLDSA65_Ed25519 => Some(Profile::Pqc),
        6 => Some(Profile::Rfc9580),
        _ => None,
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.fingerprint())
    }
}
