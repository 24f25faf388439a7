//! Stock gpg reads what the profile `gnupg` writes.

use std::fs;
use std::process::{Command, Output};

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::key::PrimaryKey as _;
use sequoia_openpgp::crypto::S2K;
use sequoia_openpgp::packet::Packet;
use sequoia_openpgp::packet::key::SecretKeyMaterial;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::{HashAlgorithm, SymmetricAlgorithm};

use super::*;

/// A gpg of its own, with an empty keyring.
struct Gpg(tempfile::TempDir);

impl Gpg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("gpg.conf"), "batch\nquiet\nno-tty\ntrust-model always\npinentry-mode loopback\n")
            .unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new("gpg").env("GNUPGHOME", self.0.path()).args(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn holding(node: &NodeKey) -> Self {
        let gpg = Self::new();
        let secret = node.to_secret().unwrap();
        let file = gpg.file("secret.asc", &secret);
        gpg.ok(&["--import", &file]);
        gpg
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.0.path()).args(["--kill", "all"]).output();
    }
}

#[test]
fn gpg_reads_messages_of_every_kind() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::holding(&node);
    let first = seal(&node, "directory", b"x", Padding::Value).unwrap();
    let epoch = Epoch::of(&first.message, &first.session_key).unwrap();
    for len in [0, 1, 64, 65_535, 65_536, (1 << 20) + 3] {
        let data = pattern(len);
        let seal = |padding| seal(&node, ID, &data, padding).unwrap().message;
        let in_epoch = epoch.seal("change", &data, Padding::Change).unwrap();
        for message in [seal(Padding::Value), seal(Padding::Change), in_epoch] {
            let file = gpg.file("message.pgp", &message);
            assert!(gpg.ok(&["-d", &file]) == data, "{len}");
        }
    }
    // Every end of a deflate stream.
    for len in 300..320 {
        let file = gpg.file("message.pgp", &seal(&node, ID, &pattern(len), Padding::Value).unwrap().message);
        assert_eq!(gpg.ok(&["-d", &file]), pattern(len));
    }
}

#[test]
fn gpg_reads_what_is_mostly_holes() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::holding(&node);
    let data = holed(100 << 20);
    let message = gpg.file("message", &seal(&node, ID, &data, Padding::Value).unwrap().message);
    assert!(gpg.ok(&["--decrypt", &message]) == data[..]);
}

#[test]
fn gpg_opens_a_message_with_its_session_key() {
    use std::fmt::Write as _;
    let sealed = seal(&NodeKey::generate(Profile::Gnupg).unwrap(), ID, b"value", Padding::Value).unwrap();
    let gpg = Gpg::new();
    let mut key = String::from("9:");
    sealed.session_key.as_slice().iter().for_each(|b| write!(key, "{b:02X}").unwrap());
    let file = gpg.file("message.pgp", &sealed.message);
    assert_eq!(gpg.ok(&["--override-session-key", &key, "-d", &file]), b"value");
}

#[test]
fn gpg_unlocks_with_the_passphrase_and_imports_the_key() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::new();
    let slot = gpg.file("passphrase.pgp", &slot::seal_for_passphrase(&node, b"a passphrase").unwrap());
    let passphrase = gpg.file("passphrase", b"a passphrase");
    let secret = gpg.ok(&["--passphrase-file", &passphrase, "-d", &slot]);
    assert_eq!(secret, node.to_secret().unwrap().as_slice());
    gpg.ok(&["--import", &gpg.file("key.asc", &secret)]);
    let message = gpg.file("message.pgp", &seal(&node, ID, b"value", Padding::Value).unwrap().message);
    assert_eq!(gpg.ok(&["-d", &message]), b"value");
    let exported = gpg.ok(&["--export-secret-keys", "pkfs keynode"]);
    let again = NodeKey::from_secret(&exported).unwrap();
    assert_eq!((again.fingerprint(), again.profile()), (node.fingerprint(), Profile::Gnupg));
    let wrong = gpg.file("wrong", b"another");
    assert!(!gpg.run(&["--passphrase-file", &wrong, "-d", &slot]).status.success());
}

#[test]
fn gpg_verifies_signatures() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::new();
    gpg.ok(&["--import", &gpg.file("cert.asc", &node.certificate().to_armored().unwrap())]);
    let (data, signature) = (gpg.file("data", b"data"), gpg.file("sig", node.sign(b"data").unwrap().as_bytes()));
    gpg.ok(&["--verify", &signature, &data]);
    let other = gpg.file("data", b"other");
    assert!(!gpg.run(&["--verify", &signature, &other]).status.success());
}

#[test]
fn git_verifies_a_commit_with_the_signature() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::new();
    gpg.ok(&["--import", &gpg.file("cert.asc", &node.certificate().to_armored().unwrap())]);
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.env("GNUPGHOME", gpg.0.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").arg("-C").arg(gpg.0.path());
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    let tree = git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let head = format!("tree {tree}\nauthor A <a@example.org> 1 +0000\ncommitter A <a@example.org> 1 +0000\n");
    let signature = node.sign(format!("{head}\nsecret\n").as_bytes()).unwrap();
    let commit = format!("{head}gpgsig {}\n\nsecret\n", signature.replace('\n', "\n "));
    let commit = git(&["hash-object", "-t", "commit", "-w", &gpg.file("commit", commit.as_bytes())]);
    git(&["verify-commit", &commit]);
    git(&["fsck", "--strict"]);
}

#[test]
fn signatures_and_certificates_of_gpg_are_read() {
    let gpg = Gpg::new();
    gpg.ok(&["--passphrase", "", "--quick-generate-key", "Ada <ada@example.org>", "rsa2048", "sign", "never"]);
    let public = gpg.ok(&["--export", "ada@example.org"]);
    let ada = Certificate::parse(&public).unwrap();
    assert_eq!(ada.user_id().as_deref(), Some("Ada <ada@example.org>"));
    assert!(!ada.can_encrypt());
    let signature = gpg.ok(&["--detach-sign", "--armor", "-o", "-", &gpg.file("data", b"data")]);
    ada.verify(b"data", &signature).unwrap();
    let weak = gpg.ok(&["--digest-algo", "SHA1", "--detach-sign", "--armor", "-o", "-", &gpg.file("data", b"data")]);
    assert!(ada.verify(b"data", &weak).unwrap_err().message().contains("weak"));
    let text = gpg.ok(&["--textmode", "--detach-sign", "--armor", "-o", "-", &gpg.file("data", b"data")]);
    assert!(ada.verify(b"data", &text).is_err());
    let error = slot::seal_for_certificate(&NodeKey::generate(Profile::Gnupg).unwrap(), &ada).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn slots_for_a_protected_key_of_gpg() {
    let gpg = Gpg::new();
    gpg.ok(&["--passphrase", "hers", "--quick-generate-key", "ada@example.org", "default", "default", "never"]);
    let ada = Certificate::parse(&gpg.ok(&["--export", "ada@example.org"])).unwrap();
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let slot = slot::seal_for_certificate(&node, &ada).unwrap();
    let secret = gpg.ok(&["--passphrase", "hers", "-d", &gpg.file("slot.pgp", &slot)]);
    assert_eq!(NodeKey::from_secret(&secret).unwrap().fingerprint(), node.fingerprint());

    let exported = gpg.ok(&["--passphrase", "hers", "--armor", "--export-secret-keys", "ada@example.org"]);
    assert_eq!(NodeKey::from_secret(&exported).unwrap_err().message(), "the key is protected by a passphrase");
    let mut key = UserKey::parse(&exported).unwrap();
    assert!(key.is_protected());
    assert_eq!(slot::open_with_key(&slot, &key).unwrap_err().kind(), Kind::Unlock);
    assert_eq!(key.unprotect(b"his").unwrap_err().message(), "wrong passphrase");
    key.unprotect(b"hers").unwrap();
    assert!(!key.is_protected());
    assert_eq!(slot::open_with_key(&slot, &key).unwrap().fingerprint(), node.fingerprint());
    assert_eq!(key.as_node_key().unwrap_err().kind(), Kind::Unlock);

    // The primary key is kept elsewhere; what opens is the subkey.
    let exported = gpg.ok(&["--passphrase", "hers", "--export-secret-subkeys", "ada@example.org"]);
    let mut key = UserKey::parse(&exported).unwrap();
    key.unprotect(b"hers").unwrap();
    assert_eq!(slot::open_with_key(&slot, &key).unwrap().fingerprint(), node.fingerprint());
}

#[test]
#[allow(deprecated, reason = "that is what is tried")]
fn a_protection_of_the_past_is_told() {
    let key = NodeKey::generate(Profile::Gnupg).unwrap();
    let key = Cert::from_bytes(&*key.to_secret().unwrap()).unwrap();
    let protected = key.keys().secret().map(|part| {
        let (public, SecretKeyMaterial::Unencrypted(secret)) = part.key().clone().take_secret() else { unreachable!() };
        let protection = S2K::new_iterated(HashAlgorithm::SHA256, 1024).unwrap();
        let password = &"old".into();
        let secret = secret.encrypt_with(&public, protection, SymmetricAlgorithm::CAST5, None, password).unwrap();
        let (whole, _) = public.add_secret(secret.into());
        if part.primary() {
            Packet::from(whole.role_into_primary())
        } else {
            Packet::from(whole.role_into_subordinate())
        }
    });
    let protected = key.clone().insert_packets(protected.collect::<Vec<_>>()).unwrap().0;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, protected.as_tsk().to_vec().unwrap()).unwrap();
    let variables = [("PKFS_TEST_KEY", &*file), ("OPENSSL_MODULES", Path::new("/dev/null"))];
    alone("tests::gnupg::without_modules", &variables);
}

#[test]
#[ignore = "run by a_protection_of_the_past_is_told"]
fn without_modules() {
    let mut key = UserKey::parse(&std::fs::read(std::env::var_os("PKFS_TEST_KEY").unwrap()).unwrap()).unwrap();
    let error = key.unprotect(b"old").unwrap_err();
    assert!(error.message().contains("CAST5") && error.next_step().unwrap().contains("gpg --import"), "{error}");
}

#[test]
fn the_agent_opens_slots() {
    let user = NodeKey::generate(Profile::Gnupg).unwrap();
    let gpg = Gpg::holding(&user);
    alone("tests::gnupg::with_the_agent", &[("GNUPGHOME", gpg.0.path())]);
}

#[test]
#[ignore = "run by the_agent_opens_slots"]
fn with_the_agent() {
    let node = NodeKey::generate(Profile::Gnupg).unwrap();
    let user = gpg::export_certificate("pkfs keynode").unwrap();
    let slot = slot::seal_for_certificate(&node, &user).unwrap();
    assert!(gpg::has_secret_for(&slot::recipients(&slot).unwrap()));
    assert_eq!(gpg::open_with_gpg(&slot).unwrap().fingerprint(), node.fingerprint());

    let strange = slot::seal_for_certificate(&node, node.certificate()).unwrap();
    assert!(!gpg::has_secret_for(&slot::recipients(&strange).unwrap()));
    let error = gpg::open_with_gpg(&strange).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Unlock, "gpg has no secret key for this slot"));

    let mut damaged = slot.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(gpg::open_with_gpg(&damaged).unwrap_err().kind(), Kind::Damaged);

    let passphrase = slot::seal_for_passphrase(&node, b"p").unwrap();
    assert_eq!(gpg::open_with_gpg(&passphrase).unwrap_err().kind(), Kind::Unlock);
    assert_eq!(gpg::export_certificate("nobody@example.org").unwrap_err().kind(), Kind::NotFound);
    for id in ["", "--output=x", "-a", "a\nb"] {
        assert_eq!(gpg::export_certificate(id).unwrap_err().kind(), Kind::Invalid);
    }
}
