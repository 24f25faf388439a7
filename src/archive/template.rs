//! The fixed members of a keynode.

use crate::error::{Error, Kind, Result};

/// Directory members, parents first, named without the slash at their end.
pub(super) const DIRECTORIES: [&str; 7] =
    ["objects", "objects/pack", "refs", "refs/heads", "refs/heads/secrets", "refs/heads/inbox", "unlock"];

/// `README.txt`.
pub(super) const README: &str = "\
This file is a keynode: a store of secrets that is one file, made by pkfs.

It is a plain tar archive of a bare git repository. Every secret, every name and
every version is an OpenPGP message in it. The usual way to read it:

    pkfs mount FILE DIRECTORY

Nothing in it needs pkfs to be read. With git, tar and gpg:

    git init -q --bare app            # git 3: GIT_DEFAULT_HASH=sha1 GIT_DEFAULT_REF_FORMAT=files
    tar -xf FILE -C app objects refs packed-refs unlock
    gpg -d app/unlock/passphrase.pgp | gpg --import
    git --git-dir=app log refs/heads/secrets/ID
    git --git-dir=app show refs/heads/secrets/ID:value.pgp | gpg -d

The third line unlocks the keynode's own key with the passphrase. The fourth
shows the history of one secret and the fifth its value; `git --git-dir=app
for-each-ref` lists the IDs. The names of the secrets are in
refs/heads/checkpoint:directory.pgp, each with its ID (a large one goes on in
directory.pgp.2 and so on), and in the changes since, which are change.pgp in
each commit of refs/heads/keynode.

Take only the four names given from the archive, never config or hooks: whoever
sent you the file may have put something there for git to run. This text can be
forged like any other plain text; the same commands are in pkfs's own README.
";

/// `HEAD`.
pub(super) const HEAD: &str = "ref: refs/heads/keynode\n";

/// `config`.
pub(super) const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = false
\tbare = true
[pkfs]
\tversion = 1
";

/// Reads the format's version from the text of `config` and refuses all but the one that is known.
pub(super) fn check_config(text: &[u8]) -> Result<()> {
    let not_one = || Error::new(Kind::Invalid, "is not a keynode: its config names no pkfs version");
    let text = std::str::from_utf8(text).map_err(|_| not_one())?;
    let mut inside = false;
    let mut version = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[pkfs]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside)
            && key.trim() == "version"
        {
            version = Some(value.trim());
        }
    }
    match version.ok_or_else(not_one)?.parse::<u32>() {
        Ok(1) => Ok(()),
        Ok(n) if n > 1 => {
            Err(Error::new(Kind::Failed, format!("has format version {n}, and this pkfs knows version 1 only"))
                .hint("install a newer pkfs"))
        }
        _ => Err(Error::new(Kind::Invalid, "is not a keynode: its config names a pkfs version that never was")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions() {
        assert!(check_config(CONFIG.as_bytes()).is_ok());
        let newer = check_config(CONFIG.replace("version = 1", "version = 2").as_bytes()).unwrap_err();
        assert!(newer.message().contains("version 2") && newer.next_step().unwrap().contains("newer"));
        for bad in ["", "[core]\nversion = 1\n", "[pkfs]\nversion = 0\n", "[pkfs]\nversion = x\n", "\u{fffd}"] {
            assert!(check_config(bad.as_bytes()).unwrap_err().message().contains("not a keynode"), "{bad}");
        }
    }
}
