//! Somebody's secret key, read from a file.

use std::fmt;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::key::PrimaryKey;
use sequoia_openpgp::crypto::{self, Password};
use sequoia_openpgp::packet::key::{Encrypted, KeyRole, SecretKeyMaterial, SecretParts};
use sequoia_openpgp::packet::{Key, PKESK, Packet};

use super::certificate::parse_one;
use super::fingerprint::Fingerprint;
use super::node_key::{NodeKey, USER_ID, open_session_key};
use crate::error::{Error, Kind, Result};

/// Somebody's secret key: opens the slots that are sealed for it. It may also be a node's own key.
pub struct UserKey {
    key: Cert,
}

impl UserKey {
    /// Reads exactly one secret key, armored or binary, protected or not.
    ///
    /// # Errors
    ///
    /// Invalid: no key, several, or more than 1 MiB. Unlock: only a public certificate.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let key = parse_one(bytes)?;
        if !key.is_tsk() {
            return Err(Error::new(Kind::Unlock, "this is a public certificate, the secret key is needed")
                .hint("export it with `gpg --export-secret-keys`"));
        }
        Ok(Self { key })
    }

    /// Whether a secret part of it is protected by a passphrase. A part that is not there, since it is on a card or kept
    /// elsewhere, is not.
    pub fn is_protected(&self) -> bool {
        self.key.keys().secret().any(|k| protection(k.key()).is_some())
    }

    /// Removes the protection, in memory; parts that are not in the file stay away.
    ///
    /// # Errors
    ///
    /// Unlock: the passphrase is wrong, or the protection of a kind that OpenSSL does not have by itself (CAST5, IDEA,
    /// Blowfish), as `GnuPG` made it before 2.1.
    pub fn unprotect(&mut self, passphrase: &[u8]) -> Result<()> {
        let password = Password::from(passphrase);
        let wrong = |e| Error::new(Kind::Unlock, "wrong passphrase").because(e);
        let mut open = Vec::new();
        for key in self.key.keys().secret() {
            let Some(secret) = protection(key.key()) else { continue };
            if !secret.algo().is_supported() {
                let what = format!("the key is protected with {}, which is out of use", secret.algo());
                return Err(Error::new(Kind::Unlock, what)
                    .hint("`gpg --import` it and export it again, which protects it with AES"));
            }
            let primary = key.primary();
            let key = key.key().clone().decrypt_secret(&password).map_err(wrong)?;
            open.push(if primary {
                Packet::from(key.role_into_primary())
            } else {
                Packet::from(key.role_into_subordinate())
            });
        }
        let failed = |e| Error::new(Kind::Failed, "cannot take the key out of its protection").because(e);
        self.key = self.key.clone().insert_packets(open).map_err(failed)?.0;
        Ok(())
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.key.fingerprint())
    }

    /// The key as a node's own, if it is one.
    ///
    /// # Errors
    ///
    /// Unlock: it is somebody's key, or still protected.
    pub fn as_node_key(&self) -> Result<NodeKey> {
        if !self.key.userids().any(|u| u.userid().value() == USER_ID.as_bytes()) {
            return Err(Error::new(Kind::Unlock, format!("{} is not the key of a keynode", self.fingerprint())));
        }
        NodeKey::of(self.key.clone())
    }

    /// Decrypts the session key with whichever of its keys the packet names, expired or not.
    pub(super) fn open_session_key(&self, packet: &PKESK) -> Option<crypto::SessionKey> {
        let recipient = packet.recipient()?;
        let mut keys = self.key.keys().unencrypted_secret();
        let key = keys.find(|k| recipient.aliases(k.key().key_handle()))?.key().clone();
        open_session_key(&key.into_keypair().ok()?, packet)
    }
}

/// What protects a part. What stands for one that is not in the file is of a kind that nobody opens.
fn protection<R: KeyRole>(part: &Key<SecretParts, R>) -> Option<&Encrypted> {
    match part.secret() {
        SecretKeyMaterial::Encrypted(secret) if secret.s2k().is_supported() => Some(secret),
        _ => None,
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({})", self.fingerprint())
    }
}
