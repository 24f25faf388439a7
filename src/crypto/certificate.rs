//! Somebody's public certificate.

use std::time::SystemTime;

use sequoia_openpgp::cert::{Cert, CertParser, Preferences, ValidCert};
use sequoia_openpgp::packet::{Key, Packet, Signature, key};
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{RevocationStatus, SignatureType};

use super::counters::VERIFIED;
use super::fingerprint::Fingerprint;
use super::policy::{POLICY, present};
use super::seal::Container;
use crate::error::{Error, Kind, Result};

/// The largest certificate or key that is read.
const MAX: usize = 1 << 20;
/// The largest signature that is read; post-quantum ones have a few KiB.
const MAX_SIGNATURE: usize = 64 << 10;

pub(super) type PublicKey = Key<key::PublicParts, key::UnspecifiedRole>;

/// A public certificate: who somebody is, checks what they sign, is encrypted to.
#[derive(Debug, Clone)]
pub struct Certificate {
    cert: Cert,
}

impl Certificate {
    /// Reads exactly one certificate, armored or binary. Secret parts, if there are any, are left out.
    ///
    /// # Errors
    ///
    /// Invalid: no certificate, several, or more than 1 MiB.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Ok(Self::of(&parse_one(bytes)?))
    }

    pub(super) fn of(cert: &Cert) -> Self {
        Self { cert: cert.clone().strip_secret_key_material() }
    }

    /// The certificate in ASCII armor.
    ///
    /// # Errors
    ///
    /// The library failed.
    pub fn to_armored(&self) -> Result<Vec<u8>> {
        self.cert.armored().to_vec().map_err(|e| Error::new(Kind::Failed, "cannot write the certificate").because(e))
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.cert.fingerprint())
    }

    /// Its primary user id, else the first one. Somebody else wrote it: it may hold any characters.
    pub fn user_id(&self) -> Option<String> {
        let primary = self.cert.with_policy(&*POLICY, present(&self.cert)).ok();
        let primary = primary.and_then(|c| c.primary_userid().ok().map(|u| u.userid().clone()));
        let id = primary.or_else(|| self.cert.userids().next().map(|u| u.userid().clone()))?;
        Some(String::from_utf8_lossy(id.value()).into_owned())
    }

    /// Checks a detached signature (armored, as in git's `gpgsig`, or binary) over these bytes by a signing key of this
    /// certificate. The key must be good at the signature's own time, or now and be older than the signature.
    ///
    /// # Errors
    ///
    /// Damaged: no single signature, not by this certificate, of a weak kind, or it does not fit the bytes.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> Result<()> {
        VERIFIED.count();
        let signature = parse_signature(signature)
            .filter(|s| s.typ() == SignatureType::Binary)
            .ok_or_else(|| Error::damaged("not a signature of the kind that pkfs makes"))?;
        POLICY
            .signature(&signature, HashAlgoSecurity::CollisionResistance)
            .map_err(|e| Error::damaged("the signature is of a weak or unknown kind").because(e))?;
        let made = signature
            .signature_creation_time()
            .ok_or_else(|| Error::damaged("the signature does not say when it was made"))?;
        let issuers = signature.get_issuers();
        for valid in [made, present(&self.cert)].into_iter().filter_map(|time| self.valid_at(time)) {
            let keys = valid.keys().alive().revoked(false).for_signing();
            let mut tried = false;
            for key in keys.filter(|k| issuers.iter().any(|i| i.aliases(k.key().key_handle()))) {
                if signature.verify_message(key.key(), data).is_ok() {
                    return Ok(());
                }
                tried = true;
            }
            if tried {
                return Err(Error::damaged("the signature does not fit what it is said to sign"));
            }
        }
        Err(Error::damaged(format!("the signature is not by a valid signing key of {}", self.fingerprint())))
    }

    /// Whether something can be encrypted to it: it has an encryption key that is neither expired nor revoked.
    pub fn can_encrypt(&self) -> bool {
        !self.encryption_keys().is_empty()
    }

    /// The certificate as it stood at a time, if it was neither expired nor revoked.
    fn valid_at(&self, time: SystemTime) -> Option<ValidCert<'_>> {
        let valid = self.cert.with_policy(&*POLICY, time).ok()?;
        let revoked = matches!(valid.revocation_status(), RevocationStatus::Revoked(_));
        (valid.alive().is_ok() && !revoked).then_some(valid)
    }

    /// All its valid encryption keys, so that each of somebody's smart cards serves.
    fn encryption_keys(&self) -> Vec<PublicKey> {
        let Some(valid) = self.valid_at(present(&self.cert)) else { return Vec::new() };
        let keys = valid.keys().alive().revoked(false).supported();
        keys.for_storage_encryption().for_transport_encryption().map(|k| k.key().clone()).collect()
    }

    /// The keys to encrypt to, at least one, and the container that they all understand.
    pub(super) fn recipients(&self) -> Result<(Vec<PublicKey>, Container)> {
        let keys = self.encryption_keys();
        if keys.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("{} has no valid encryption key", self.fingerprint()))
                .hint("it may have expired or been revoked: ask for a current certificate"));
        }
        let valid = self.valid_at(present(&self.cert));
        let announced = valid.and_then(|c| c.features()).is_some_and(|f| f.supports_seipdv2());
        let modern = announced || keys.iter().all(|k| k.version() == 6);
        Ok((keys, if modern { Container::V2 } else { Container::V1 }))
    }
}

/// Reads exactly one certificate or key.
pub(super) fn parse_one(bytes: &[u8]) -> Result<Cert> {
    let none = || Error::new(Kind::Invalid, "no OpenPGP key or certificate in it");
    if bytes.len() > MAX {
        return Err(Error::new(Kind::Invalid, "too large for one OpenPGP certificate"));
    }
    let mut certs = CertParser::from_bytes(bytes).map_err(|e| none().because(e))?;
    let cert = certs.next().ok_or_else(none)?.map_err(|e| none().because(e))?;
    if certs.next().is_some() {
        return Err(Error::new(Kind::Invalid, "more than one OpenPGP certificate in it")
            .hint("export the one that is meant: `gpg --export --armor FINGERPRINT`"));
    }
    Ok(cert)
}

/// The one signature packet, armored or not.
fn parse_signature(bytes: &[u8]) -> Option<Signature> {
    if bytes.len() > MAX_SIGNATURE {
        return None;
    }
    let PacketParserResult::Some(parser) = PacketParser::from_bytes(bytes).ok()? else { return None };
    let (packet, rest) = parser.next().ok()?;
    match (packet, rest) {
        (Packet::Signature(signature), PacketParserResult::EOF(_)) => Some(signature),
        _ => None,
    }
}
